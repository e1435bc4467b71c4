#!/usr/bin/env python3
"""The inner loops of the kernels keep their work in registers: compilers spill every product of long chains of integer
additions when nothing stops them, which costs a third of the speed and fails no test.

    scripts/spills.py BUILD [--list]

Disassembles the kernels of a gcc release build, takes every innermost loop with at least MIN_WORK multiply-adds, and
compares the vector instructions that touch the stack with a share of them. AVX2 and AVX-VNNI have 16 registers: five
tokens of a linear have 10 sums and 10 accumulators, so the sums move to the stack and back once a block; that is what
their shares allow. AVX-512: the last 16 columns of an odd width, two of 64 instructions. NEON: one query against 64
keys or columns, two of 50."""
import pathlib
import re
import subprocess
import sys

WORK = re.compile(r"\b(vpdpbusd|vpmaddubsw|vpmaddwd|vfmadd\w+ps|sdot|smlal2?|smull2?|smmla|fmla)\b")
STACK = re.compile(r"\(%[re]sp|\[sp[,\]]")
VECTOR = re.compile(r"%[xyz]mm|\b[qv]\d+")
JUMP = re.compile(r"^\s*([0-9a-f]+):\s+(j\w+|b\.\w+|cbn?z\s+\w+,|tbn?z\s+[^,]+,[^,]+,)\s+(?:0x)?([0-9a-f]+)\b")
MIN_WORK = 8
KERNELS = {"linear_i4", "linear_i8", "gemv_i4", "gemv_i4z", "gemv_i8", "gemv_i8z", "tile_plain", "tile_zeros",
           "scores_i8", "k_scores_f32", "k_scores_f16", "k_values_f32", "k_values_f16", "values_i8"}
SHARES = {"kernels_avx2.c.o": 0.5, "kernels_avxvnni.c.o": 0.65, "kernels_avx512.c.o": 0.13, "kernels_neon.c.o": 0.13}
SHARE = 0.1


# What AVX-512 alone has; machines with AVX-VNNI have none of it, and those that run CI do not notice.
EVEX = re.compile(r"%zmm|%[xy]mm(1[6-9]|2\d|3[01])|%k[0-7]|\tvpdp")


def functions(path, objdump):
    command = [objdump, "-d", "--no-show-raw-insn", path]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    name, lines = None, []
    for line in text.splitlines():
        head = re.match(r"^[0-9a-f]+ <([^>]+)>:", line)
        if head:
            if name:
                yield name, lines
            name, lines = head.group(1), []
        elif re.match(r"^\s*[0-9a-f]+:\t", line):
            lines.append(line)
    if name:
        yield name, lines


def loops(lines):
    """Line ranges from the target of a backward jump to the jump."""
    index = {int(line.split(":")[0], 16): i for i, line in enumerate(lines)}
    found = []
    for i, line in enumerate(lines):
        jump = JUMP.match(line)
        if jump and index.get(int(jump.group(3), 16), i + 1) <= i:
            found.append((index[int(jump.group(3), 16)], i))
    return found


def inner_loops(lines):
    """Those that contain no other."""
    found = loops(lines)
    return [a for a in found if not any(b != a and a[0] <= b[0] and b[1] <= a[1] for b in found)]


def main():
    build, show = pathlib.Path(sys.argv[1]), "--list" in sys.argv
    objects = sorted(p for p in build.glob("CMakeFiles/elm_backend.dir/src/backend/cpu/*/kernels_*.c.o"))
    if not objects:
        sys.exit(f"{build}: no compiled kernels; build first")
    errors, checked = [], 0
    for path in objects:
        arm = "/arm/" in str(path)
        for name, lines in functions(path, "aarch64-linux-gnu-objdump" if arm else "objdump"):
            if path.name == "kernels_avxvnni.c.o":
                errors += [f"{path.name}: {name}: not for AVX-VNNI: {x.strip()}" for x in lines if EVEX.search(x)]
            name = name.split(".")[0]
            if name not in KERNELS:
                continue
            for begin, end in inner_loops(lines):
                body = lines[begin:end + 1]
                work = sum(bool(WORK.search(x)) for x in body)
                if work < MIN_WORK:
                    continue
                spills = sum(bool(STACK.search(x) and VECTOR.search(x)) for x in body)
                checked += 1
                where = (f"{path.name}: {name}+{begin}: {len(body)} instructions, "
                         f"{work} multiply-adds, {spills} on the stack")
                if show:
                    print(where)
                if spills > SHARES.get(path.name, SHARE) * work:
                    errors.append(where)
    print("\n".join(errors) if errors else f"spills: within bounds in {checked} inner loops")
    return 1 if errors or not checked else 0


if __name__ == "__main__":
    sys.exit(main())
