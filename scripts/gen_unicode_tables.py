#!/usr/bin/env python3
"""Writes src/text/unicode_tables.c from Python's unicodedata: categories, white space, canonical (de)compositions
and combining classes, as ranges and sorted lists."""
import pathlib
import sys
import unicodedata as u

CATEGORIES = ["Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf",
              "Po", "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co", "Cn"]
HANGUL = range(0xAC00, 0xD7A4)  # composed by arithmetic


def ranges(value):
    out, last = [], None
    for c in range(0x110000):
        v = value(c)
        if v != last:
            out.append((c, v))
            last = v
    return out


def rows(items, per_line):
    lines = ["    " + " ".join(items[i:i + per_line]) for i in range(0, len(items), per_line)]
    return "\n".join(lines)


def main():
    category = ranges(lambda c: CATEGORIES.index(u.category(chr(c))))
    combining = ranges(lambda c: u.combining(chr(c)))
    decompositions, compositions = [], []
    for c in range(0x110000):
        d = u.decomposition(chr(c))
        if not d or d.startswith("<") or c in HANGUL:
            continue
        parts = [int(x, 16) for x in d.split()]
        decompositions.append((c, parts[0], parts[1] if len(parts) > 1 else 0))
        if len(parts) == 2 and u.normalize("NFC", chr(c)) == chr(c):
            compositions.append((parts[0], parts[1], c))
    compositions.sort()
    out = [f"/* unicode_tables.c - Unicode {u.unidata_version}; written by scripts/gen_unicode_tables.py; text. */",
           '#include "text/unicode.h"', "",
           "/* first code point << 8 | category, ascending */",
           "const uint32_t elm_unicode_categories[] = {",
           rows([f"0x{c << 8 | v:x}," for c, v in category], 12), "};",
           f"const uint32_t elm_unicode_n_categories = {len(category)};", "",
           "/* first code point << 8 | canonical combining class, ascending */",
           "const uint32_t elm_unicode_classes[] = {",
           rows([f"0x{c << 8 | v:x}," for c, v in combining], 12), "};",
           f"const uint32_t elm_unicode_n_classes = {len(combining)};", "",
           "/* {code point, first, second or 0}, ascending */",
           "const uint32_t elm_unicode_decompositions[][3] = {",
           rows([f"{{0x{a:x}, 0x{b:x}, 0x{c:x}}}," for a, b, c in decompositions], 4), "};",
           f"const uint32_t elm_unicode_n_decompositions = {len(decompositions)};", "",
           "/* {first, second, composed}, ascending */",
           "const uint32_t elm_unicode_compositions[][3] = {",
           rows([f"{{0x{a:x}, 0x{b:x}, 0x{c:x}}}," for a, b, c in compositions], 4), "};",
           f"const uint32_t elm_unicode_n_compositions = {len(compositions)};", ""]
    path = pathlib.Path(__file__).resolve().parent.parent / "src/text/unicode_tables.c"
    path.write_text("\n".join(out))
    print(path, len("\n".join(out)), file=sys.stderr)


main()
