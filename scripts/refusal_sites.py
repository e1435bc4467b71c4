#!/usr/bin/env python3
"""Places where a parser refuses its input and that no test reaches, by gcov: every refusal should have a file that
triggers exactly it. Usage: scripts/refusal_sites.py [FOLDER...]   (default: src/elm src/parse src/base/json.c)

Builds build-coverage, runs the unit tests of those layers, and prints lines and branches covered a file and each
refusal that was not reached. Exit code 1 when there is one."""
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
REFUSAL = re.compile(r"\b(elm_fail\w*|bad\w*|refuse\w*|no_slot)\(")
# Not the input's fault: memory, the disk, our own bugs.
OTHER = re.compile(r"elm_fail_oom|ELM_IO\b|ELM_INTERNAL|ELM_OUT_OF_MEMORY|elm_status (bad|refuse)|^static")
LAYERS = ("elm", "parse", "base", "convert")


def build_and_run():
    flags = "-O0 --coverage"
    subprocess.run(["cmake", "-S", ROOT, "-B", BUILD, "-DEDGE_LLM_TESTS=ON", "-DCMAKE_BUILD_TYPE=None",
                    f"-DCMAKE_C_FLAGS={flags}"], check=True, stdout=subprocess.DEVNULL)
    programs = [p for layer in LAYERS for p in (ROOT / "tests/unit" / layer).glob("test_*.c")]
    tests = [f"unit_{p.parent.name}_{p.stem}" for p in programs]
    subprocess.run(["cmake", "--build", BUILD, "-j", str(os.cpu_count()), "--target", *tests], check=True,
                   stdout=subprocess.DEVNULL)
    for data in BUILD.rglob("*.gcda"):
        data.unlink()
    for test in tests:
        subprocess.run([BUILD / "tests" / test], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=600)


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
                    if name.endswith(".c") and any(name.startswith(folder) for folder in folders):
                        lines = files.setdefault(name, {})
                        for line in file["lines"]:
                            old = lines.get(line["line_number"], (0, 0, 0))
                            taken = sum(b["count"] > 0 for b in line["branches"])
                            lines[line["line_number"]] = (max(old[0], line["count"]), max(old[1], taken),
                                                          len(line["branches"]))
    return files


def main():
    folders = sys.argv[1:] or ["src/elm", "src/parse", "src/base/json"]
    build_and_run()
    missing, totals = [], [0, 0, 0, 0]
    for name, lines in sorted(coverage(folders).items()):
        hit, taken = sum(c > 0 for c, _, _ in lines.values()), sum(t for _, t, _ in lines.values())
        branches = sum(b for _, _, b in lines.values())
        totals = [a + b for a, b in zip(totals, (hit, len(lines), taken, branches))]
        print(f"{name:34} lines {100 * hit / max(1, len(lines)):5.1f} %   "
              f"branches {100 * taken / max(1, branches):5.1f} %")
        source = (ROOT / name).read_text().splitlines()
        for number, (count, _, _) in sorted(lines.items()):
            text = " ".join(source[number - 1:number + 1])
            if count == 0 and REFUSAL.search(source[number - 1]) and not OTHER.search(text):
                missing.append(f"{name}:{number}: {source[number - 1].strip()}")
    print(f"{'all':34} lines {100 * totals[0] / max(1, totals[1]):5.1f} %   "
          f"branches {100 * totals[2] / max(1, totals[3]):5.1f} %")
    print(f"\n{len(missing)} refusals that no test reaches")
    print("\n".join(missing))
    return 1 if missing else 0


sys.exit(main())
