#!/usr/bin/env python3
"""Coverage of the parsers by corpus and tests, and the places where one refuses its input that no test reaches: every
refusal should have a case that triggers exactly it. Usage: scripts/refusal_sites.py [PATH PREFIX...]

Builds build-coverage without optimisation and runs there the unit tests of the layers, the fuzz targets over their
committed corpus, the fault sweeps (failing allocations and calls: they are tests like others), and with build/venv the
end-to-end tests of text, GGUF and trust. A branch counts when gcc made one for the line, those of conditions that are
always so too. Prints lines and branches covered a file and each refusal that was not reached. Exit code 1 when there is
one, or when less than 90 % of the lines or 80 % of the branches of all files together were covered."""
import glob
import gzip
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build-coverage"
REFUSAL = re.compile(
    r"\b(elm_fail\w*|bad\w*|refuse\w*|no_slot|damaged|elm_\w+_(fail|expected|refuse))\(")
# Not the input's fault: memory, the disk, our own bugs.
OTHER = re.compile(r"elm_fail_oom|ELM_IO\b|ELM_INTERNAL|ELM_OUT_OF_MEMORY|elm_status (bad|refuse)|no memory|^static")
LAYERS = ("base", "ir", "elm", "text", "parse", "convert", "runtime")
END_TO_END = ("test_template_jinja2", "test_tokenizer_hf", "test_gguf", "test_second_reader", "test_trust", "test_cli",
              "test_threats")
PARSERS = ["src/elm", "src/parse", "src/base/json", "src/text/tokenizer_blob.c", "src/text/template_parser.c",
           "src/text/template_statement.c", "src/text/template_expression.c", "src/ir/serial.c"]
WRITERS = ("src/elm/writer.c", "src/base/json_write.c")  # read nothing
LEAST_LINES, LEAST_BRANCHES = 90, 80  # per cent


def build_and_run():
    subprocess.run(["cmake", "-S", ROOT, "-B", BUILD, "-DEDGE_LLM_TESTS=ON", "-DCMAKE_BUILD_TYPE=None",
                    "-DEDGE_LLM_WERROR=OFF", "-DCMAKE_C_FLAGS=-O0 --coverage"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", BUILD, "-j", str(os.cpu_count())], check=True, stdout=subprocess.DEVNULL)
    for data in BUILD.rglob("*.gcda"):
        data.unlink()
    names = ["conform_test_faults", *(f"unit_{layer}_test_*" for layer in LAYERS), "replay_*"]
    for program in sorted(p for name in names for p in (BUILD / "tests").glob(name)):
        if subprocess.run([program], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=600).returncode:
            print(f"{program.name} failed")
    pytest = ROOT / "build" / "venv" / "bin" / "pytest"
    if not pytest.exists():
        print("without build/venv: no end-to-end tests")
        return
    subprocess.run([pytest, "-q", *(f"tests/e2e/{name}.py" for name in END_TO_END)], cwd=ROOT,
                   env=dict(os.environ, EDGE_LLM_BIN=str(BUILD / "edge-llm")), stdout=subprocess.DEVNULL)


def coverage(folders):
    """{file: {line: (count, branches taken, branches)}}"""
    files = {}
    with tempfile.TemporaryDirectory() as where:
        notes = [str(p) for p in BUILD.rglob("*.gcda") if "/tests/" not in str(p)]
        subprocess.run(["gcov", "-b", "-j", *notes], cwd=where, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for path in glob.glob(where + "/*.gcov.json.gz"):
            with gzip.open(path) as f:
                for file in json.load(f)["files"]:
                    name = os.path.relpath(os.path.join(ROOT, file["file"]), ROOT)
                    if name.endswith(".c") and name not in WRITERS and name.startswith(tuple(folders)):
                        lines = files.setdefault(name, {})
                        for line in file["lines"]:
                            old = lines.get(line["line_number"], (0, 0, 0))
                            taken = sum(b["count"] > 0 for b in line["branches"])
                            lines[line["line_number"]] = (max(old[0], line["count"]), max(old[1], taken),
                                                          len(line["branches"]))
    return files


def main():
    folders = sys.argv[1:] or PARSERS
    build_and_run()
    missing, totals = [], [0, 0, 0, 0]
    for name, lines in sorted(coverage(folders).items()):
        hit, taken = sum(c > 0 for c, _, _ in lines.values()), sum(t for _, t, _ in lines.values())
        branches = sum(b for _, _, b in lines.values())
        totals = [a + b for a, b in zip(totals, (hit, len(lines), taken, branches))]
        print(f"{name:34} lines {100 * hit / max(1, len(lines)):5.1f} %   "
              f"branches {100 * taken / max(1, branches):5.1f} %")
        source = (ROOT / name).read_text().splitlines()
        for number in sorted(lines):
            if not REFUSAL.search(source[number - 1]):
                continue
            last = number  # of the statement
            while ";" not in source[last - 1] and last < len(source):
                last += 1
            reached = any(lines[n][0] > 0 for n in range(number, last + 1) if n in lines)
            if not reached and not OTHER.search(" ".join(source[number - 1:last])):
                missing.append(f"{name}:{number}: {source[number - 1].strip()}")
    print(f"{'all':34} lines {100 * totals[0] / max(1, totals[1]):5.1f} %   "
          f"branches {100 * totals[2] / max(1, totals[3]):5.1f} %")
    print(f"\n{len(missing)} refusals that no test reaches")
    print("\n".join(missing))
    return int(bool(missing) or 100 * totals[0] < LEAST_LINES * totals[1] or
               100 * totals[2] < LEAST_BRANCHES * totals[3])


sys.exit(main())
