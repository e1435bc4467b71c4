#!/usr/bin/env python3
"""Instructions of the inner loops of the ARM linear kernels, within 10 % of what a hand would write.

    scripts/arm_counts.py BUILD [--list]       BUILD: a gcc release build for aarch64

No ARM machine measures these kernels, so their loops are counted, for one block of 32 k with a scale of its own."""
import pathlib
import sys

from spills import functions, inner_loops

# (kernels, codes, one token, zero points): (products, instructions by hand). One token takes the 16 rows of a panel:
#
#   codes      one load for each 64 bytes
#   operands   and, shift for each 16 bytes of int4
#   products   smull and smlal of 8, and of int8 one pairwise addition for two of them; sdot of 16
#   acts       NEON one ld1r for 4 k; dotprod one ldp
#   lanes      what they start from: the sum of the activations and 4 multiplications by the zeros (8 for all rows of
#              symmetric int4), or 4 zeros
#   end        NEON int4 8 and 4 pairwise additions, int8 4; then d and for 4 rows a conversion, scale times scale, fma
#   scales     ldp, 4 conversions
#   loop       prefetch 2, group 2, block 2, compare, branch
#
# Several tokens: four rows and four tokens, a quarter of a panel, with activations of a block in registers, float sums
# and zeros in memory.
HAND = {
    #                     products  codes operands products acts lanes end scales loop
    ("neon", "i4", True, True): (64, 4 + 32 + 64 + 8 + 5 + 12 + 13 + 5 + 8),
    ("neon", "i8", True, False): (88, 8 + 0 + 64 + 32 + 8 + 0 + 4 + 13 + 5 + 8),
    ("neon", "i8", True, True): (88, 8 + 0 + 64 + 32 + 8 + 5 + 4 + 13 + 5 + 8),
    ("dotprod", "i4", True, True): (32, 4 + 32 + 32 + 1 + 5 + 13 + 5 + 8),
    ("dotprod", "i8", True, False): (32, 8 + 0 + 32 + 1 + 4 + 13 + 5 + 8),
    ("dotprod", "i8", True, True): (32, 8 + 0 + 32 + 1 + 5 + 13 + 5 + 8),
    #                     products  codes operands products lanes end sums scales loop
    ("dotprod", "i4", False, False): (32, 4 + 8 + 32 + 4 + 12 + 4 + 1 + 4),
    ("dotprod", "i4", False, True): (32, 4 + 8 + 32 + 5 + 12 + 4 + 1 + 4),
    ("dotprod", "i8", False, False): (32, 8 + 0 + 32 + 4 + 12 + 4 + 1 + 4),
    ("dotprod", "i8", False, True): (32, 8 + 0 + 32 + 5 + 12 + 4 + 1 + 4),
    ("i8mm", "i4", False, False): (16, 4 + 16 + 16 + 4 + 12 + 4 + 1 + 5),
    ("i8mm", "i4", False, True): (16, 4 + 16 + 16 + 5 + 12 + 4 + 1 + 5),
    ("i8mm", "i8", False, False): (16, 8 + 8 + 16 + 4 + 12 + 4 + 1 + 5),
    ("i8mm", "i8", False, True): (16, 8 + 8 + 16 + 5 + 12 + 4 + 1 + 5),
}
PRODUCTS = ("smmla", "sdot", "smlal", "smull", "sadalp")
ALLOWED = 1.10


def mnemonic(line):
    return line.split("\t")[1].split()[0]


def main():
    build, show, errors, seen = pathlib.Path(sys.argv[1]), "--list" in sys.argv, [], set()
    folder = build / "CMakeFiles/elm_backend.dir/src/backend/cpu/arm"
    for name in ("neon", "dotprod", "i8mm"):
        for function, lines in functions(folder / f"kernels_{name}.c.o", "aarch64-linux-gnu-objdump"):
            for begin, end in inner_loops(lines):
                names = [mnemonic(line) for line in lines[begin:end + 1]]
                codes, one = "i4" if "i4" in function else "i8", "prfm" in names
                zeros = "mla" in names or "mul" in names or (codes == "i4" and one)
                key = (name, codes, one, zeros)
                products, by_hand = HAND.get(key, (None, 0))
                if "linear_i" not in function or sum(n.startswith(PRODUCTS) for n in names) != products:
                    continue
                seen.add(key)
                where = (f"{name} {codes}, {'one token' if one else 'several tokens'}: {len(names)} instructions, "
                         f"{by_hand} by hand, {100 * len(names) / by_hand - 100:+.0f} %")
                if show:
                    print(where)
                if len(names) > ALLOWED * by_hand:
                    errors.append(where)
    errors += [f"no loop found: {key}" for key in HAND if key not in seen]
    print("\n".join(errors) if errors else f"ARM instruction counts: within 10 % of the hand's in {len(seen)} loops")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
