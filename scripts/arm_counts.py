#!/usr/bin/env python3
"""Instructions of the inner loops of the ARM linear kernels, within 10 % of what a hand would write.

    scripts/arm_counts.py BUILD [--list]       BUILD: a gcc release build for aarch64

No ARM machine measures these kernels, so their loops are counted. A hand's count, for one block of 32 k: the products;
loads of codes, each once, in pairs where they lie together; what makes operands of them (and, shift, zip, dup); start
values; then for every 4 sums a conversion, a scale times scale and an fma. bench/SPEED.md has the table."""
import pathlib
import sys

from spills import functions, inner_loops

# (object, function part, one token): (products, instructions by hand). One token: a whole panel, 16 rows. Several: four
# rows and four tokens, a quarter of a panel, activations of the block in registers and float sums in memory.
#            products, codes, operands, start, halves added, end, activations and sums, prefetch, loop
HAND = {
    ("neon", "i4", True): (64, 64 + 8 + 32 + 8 + 0 + 12 + 16 + 2 + 2 + 8),
    ("neon", "i8", True): (96, 96 + 32 + 0 + 8 + 8 + 4 + 16 + 2 + 2 + 8),
    ("dotprod", "i4", True): (32, 32 + 8 + 32 + 0 + 4 + 0 + 16 + 3 + 2 + 8),
    ("dotprod", "i8", True): (32, 32 + 32 + 0 + 0 + 4 + 0 + 16 + 3 + 2 + 8),
    #            products, codes, operands, start, end, float sums in and out, scales, loop
    ("dotprod", "i4", False): (32, 32 + 4 + 8 + 4 + 12 + 7 + 1 + 4),
    ("dotprod", "i8", False): (32, 32 + 8 + 0 + 4 + 12 + 7 + 1 + 4),
    ("i8mm", "i4", False): (16, 16 + 4 + 16 + 4 + 12 + 4 + 1 + 5),
    ("i8mm", "i8", False): (16, 16 + 8 + 8 + 4 + 12 + 4 + 1 + 5),
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
                key = (name, "i4" if "i4" in function else "i8", "prfm" in names)
                products, by_hand = HAND.get(key, (None, 0))
                if "linear_i" not in function or sum(n.startswith(PRODUCTS) for n in names) != products:
                    continue
                seen.add(key)
                where = (f"{name} {key[1]}, {'one token' if key[2] else 'several tokens'}: {len(names)} instructions, "
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
