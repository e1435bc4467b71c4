#!/usr/bin/env python3
"""Instructions of the inner loops of the ARM linear kernels, within 10 % of what a hand would write.

    scripts/arm_counts.py BUILD [--list]       BUILD: a gcc release build for aarch64

No ARM machine measures these kernels, so their loops are counted in the disassembly, beside counts derived here by
hand. gemv: one token and the 16 rows of a panel; its loop is a block of 32 k, and the loop around it a group that
shares scales: compared alone and for groups of one block. tile: the rows and tokens of a tile, a block of 32 k."""
import pathlib
import sys

from spills import functions, inner_loops, loops

# What a block takes at least:
#
#   codes     one ld1 of four registers for 64 bytes
#   nibbles   and, ushr for each 16 bytes of int4
#   products  NEON: smull or smlal of 8, of int8 a pairwise addition to int32 for two of them; sdot of 16, smmla of 32
#   acts      NEON: one ld1r for 4 k of a token; sdot: one ldp for 32; smmla: besides, 2 zips pair those of two tokens
#   start     of a sum: zeros, or the sum of a token's activations times the rows' zeros. smmla: two such sums side by
#             side are ld1r, ld1, dup
#   end       NEON int4: addp of two registers, then saddlp or sadalp; int8: addp
#   float     d of a token (smmla: of two, as above), scales (gemv: loaded once a group), scvtf, fmul, fmla for 4 sums
#   loop      gemv: two prefetches; subtract, branch
GEMV = {
    ("neon", "i4"): dict(codes=4, nibbles=32, products=64, acts=8, start=5, end=8, float=13, loop=4),
    ("neon", "i8"): dict(codes=8, products=64 + 32, acts=8, end=4, float=13, loop=4),
    ("neon", "i8z"): dict(codes=8, products=64 + 32, acts=8, start=5, end=4, float=13, loop=4),
    ("dotprod", "i4"): dict(codes=4, nibbles=32, products=32, acts=1, start=5, float=13, loop=4),
    ("dotprod", "i8"): dict(codes=8, products=32, acts=1, start=4, float=13, loop=4),
    ("dotprod", "i8z"): dict(codes=8, products=32, acts=1, start=5, float=13, loop=4),
}
for kernels in ("neon", "dotprod"):  # zeros of int4 need no more than its 8
    GEMV[kernels, "i4z"] = GEMV[kernels, "i4"]
# ldp and 4 conversions; the blocks of a group are the least of its size and what is left: compare, select, subtract,
# branch. Zeros: a load, and 2 subtractions that widen.
GROUP, GROUP_ZEROS = 5 + 4, 3
TILE = {
    ("neon", "plain"): dict(codes=8, products=128, acts=16, end=16, float=2 + 2 + 24, loop=2),
    ("neon", "zeros"): dict(codes=8, products=128, acts=16, start=1 + 2 + 8, end=16, float=2 + 2 + 24, loop=2),
    ("dotprod", "plain"): dict(codes=4, products=64, acts=4, start=8, float=4 + 1 + 24, loop=2),
    ("dotprod", "zeros"): dict(codes=4, products=64, acts=4, start=1 + 4 + 8, float=4 + 1 + 24, loop=2),
    ("i8mm", "plain"): dict(codes=4, products=32, acts=4 + 8, start=8, float=6 + 2 + 24, loop=2),
    ("i8mm", "zeros"): dict(codes=4, products=32, acts=4 + 8, start=2 + 6 + 8, float=6 + 2 + 24, loop=2),
}
PRODUCTS = ("smmla", "sdot", "smlal", "smull", "sadalp", "saddlp")
ALLOWED = 1.10


def block_loops(lines):
    """(instructions, those of the loop around it alone or None) of each innermost loop that multiplies."""
    for begin, end in inner_loops(lines):
        if sum(line.split("\t")[1].startswith(PRODUCTS) for line in lines[begin:end + 1]) < 16:
            continue
        around = [b - a for a, b in loops(lines) if (a, b) != (begin, end) and a <= begin and end <= b]
        yield end - begin + 1, min(around) - (end - begin) if around else None


def main():
    build, show, errors = pathlib.Path(sys.argv[1]), "--list" in sys.argv, []
    expected = {f"{k} gemv_{form}": (sum(parts.values()), GROUP + GROUP_ZEROS * form.endswith("z"))
                for (k, form), parts in GEMV.items()}
    expected |= {f"{k} tile_{form}": (sum(parts.values()), None) for (k, form), parts in TILE.items()}
    # The i8mm kernels hold the sdot gemv too.
    expected |= {f"i8mm gemv_{form}": expected[f"dotprod gemv_{form}"] for form in ("i4", "i4z", "i8", "i8z")}
    seen = set()

    def check(what, compiled, by_hand):
        line = f"{what}: {compiled} instructions, {by_hand} by hand, {100 * compiled / by_hand - 100:+.1f} %"
        if show:
            print(line)
        if compiled > ALLOWED * by_hand:
            errors.append(line)

    for name in ("neon", "dotprod", "i8mm"):
        path = build / f"CMakeFiles/elm_backend.dir/src/backend/cpu/arm/kernels_{name}.c.o"
        for function, lines in functions(path, "aarch64-linux-gnu-objdump"):
            key = f"{name} {function}"
            if key not in expected:
                continue
            block, group = expected[key]
            for compiled, around in block_loops(lines):
                seen.add(key)
                check(key, compiled, block)
                if group is not None and around is None:
                    errors.append(f"{key}: no loop over groups around that over blocks")
                elif group is not None:
                    check(f"{key}, scales of its own", compiled + around, block + group)
    errors += [f"no loop found: {key}" for key in sorted(expected.keys() - seen)]
    print("\n".join(errors) if errors else f"ARM instruction counts: within 10 % of the hand's in {len(seen)} loops")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
