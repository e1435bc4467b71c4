#!/usr/bin/env python3
"""Writes src/text/unicode_tables.c.

Hugging Face tokenizers does not have one version of Unicode: its regular expressions (Oniguruma) and its word
characters have 16.0, is_numeric and to_lowercase 17.0 (Rust), its normalisation forms know what 12.0 knew (combining
classes: 9.0), StripAccents has the marks of 9.0 and Punctuation the punctuation of 8.0. The tables are those: 16.0
from Python, and the differences from the lists below, each of which was found by asking tokenizers 0.23.3 about
every code point.

Needs Unicode 16.0: Python 3.14, or the package unicodedata2 16.0."""
import pathlib
import sys

try:
    import unicodedata2 as u
except ImportError:
    import unicodedata as u

VERSION = "16.0.0"
CATEGORIES = ["Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf",
              "Po", "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co", "Cn"]
FORMS = ["NFC", "NFD", "NFKC", "NFKD"]
HANGUL = range(0xAC00, 0xD7A4)  # composed by arithmetic
MAX = 0x110000

# Code points that the normalisation forms leave alone: newer than their tables.
NOT_NORMALISED = """7fd 897-89f 8ca-8d3 9fe c3c d3b-d3c eba 1133b 1145e 11839-1183a 119e0 11a34 11a47 11a99 11d42
11d44-11d45 11d97 1715 1abf-1ace 1df6-1dfa 32ff a7f2-a7f4 a82c ab69 105c9 105e4 10781-10785 10787-107b0 107b2-107ba
10d24-10d27 10d69-10d6d 10eab-10eac 10efd-10eff 10f46-10f50 10f82-10f85 11070 11383 11385 1138e 11391 113c5
113c7-113c8 113ce-113d0 11938 1193d-1193e 11943 11f41-11f42 16121-16128 1612f 16d68-16d6a 16ff0-16ff1 1ccd6-1ccf9
1e030-1e06d 1e08f 1e130-1e136 1e2ae 1e2ec-1e2ef 1e4ec-1e4ef 1e5ee-1e5ef 1f16c 1fbf0-1fbf9"""

# Punctuation: what 16.0 has more, and what it has no longer; the ASCII symbols count as punctuation.
NOT_PUNCTUATION = """61d 9fd a76 c77 c84 1b4e-1b4f 1b7d-1b7f 2e43-2e4f 2e52-2e5d 10d6e 10ead 10f55-10f59 10f86-10f89
113d4-113d5 113d7-113d8 1144b-1144f 1145a-1145b 1145d 11660-1166c 116b9 1183b 11944-11946 119e2 11a3f-11a46
11a9a-11a9c 11a9e-11aa2 11b00-11b09 11be1 11c41-11c45 11c70-11c71 11ef7-11ef8 11f43-11f4f 11fff 12ff1-12ff2
16d6d-16d6f 16e97-16e9a 16fe2 1e5ff 1e95e-1e95f"""
PUNCTUATION = "24 2b 3c-3e 5e 60 7c 7e 166d 111c9"

# Marks that StripAccents removes.
NOT_MARKS = """7fd 897-89f 8ca-8d3 9fe afa-aff b55 c04 c3c cf3 d00 d3b-d3c d81 eba ece 1715 180f 1abf-1ace 1cf7
1df6-1dfa
a82c a8ff 10d24-10d27 10d69-10d6d 10eab-10eac 10efc-10eff 10f46-10f50 10f82-10f85 11070 11073-11074 110c2
11145-11146 111c9 111ce-111cf 11241 1133b 113b8-113c0 113c2 113c5 113c7-113ca 113cc-113d0 113d2 113e1-113e2
1145e 1182c-1183a
11930-11935 11937-11938 1193b-1193e 11940 11942-11943 119d1-119d7 119da-119e0 119e4 11a01-11a0a 11a33-11a39
11a3b-11a3e 11a47 11a51-11a5b 11a8a-11a99 11d31-11d36 11d3a 11d3c-11d3d 11d3f-11d45 11d47 11d8a-11d8e 11d90-11d91
11d93-11d97 11ef3-11ef6 11f00-11f01 11f03 11f34-11f3a 11f3e-11f42 11f5a 13440 13447-13455 1611e-1612f 16f4f
16f7f-16f87 16fe4 16ff0-16ff1 1cf00-1cf2d 1cf30-1cf46 1e08f 1e130-1e136 1e2ae 1e2ec-1e2ef 1e4ec-1e4ef 1e5ee-1e5ef"""
MARKS = "1cf2-1cf3"

# Upper case letters that Unicode 15, 16 and 17 brought, and the first lower case letter of each range.
NEW_LOWER = [(0x1C89, 0x1C89, 0x1C8A), (0xA7CB, 0xA7CB, 0x264), (0xA7CC, 0xA7CC, 0xA7CD), (0xA7CE, 0xA7CE, 0xA7CF),
             (0xA7D2, 0xA7D2, 0xA7D3), (0xA7D4, 0xA7D4, 0xA7D5), (0xA7DA, 0xA7DA, 0xA7DB), (0xA7DC, 0xA7DC, 0x19B),
             (0x10D50, 0x10D65, 0x10D70), (0x16EA0, 0x16EB8, 0x16EBB)]


def parse(text):
    out = set()
    for part in text.split():
        first, _, last = part.partition("-")
        out.update(range(int(first, 16), int(last or first, 16) + 1))
    return out


SKIPPED = parse(NOT_NORMALISED)


def ranges(value):
    out, last = [], None
    for c in range(MAX):
        v = value(c)
        if v != last:
            out.append((c, v))
            last = v
    return out


def decomposition(c, compat):
    """Full decomposition without the sorting of marks, as the tables of 12.0 give it."""
    d = "" if c in SKIPPED else u.decomposition(chr(c))
    if not d or (d.startswith("<") and not compat):
        return [c]
    return [p for x in d.split() if not x.startswith("<") for p in decomposition(int(x, 16), compat)]


def rows(items):
    lines, line = [], "   "
    for item in items:
        if len(line) + len(item) > 118:
            lines.append(line)
            line = "   "
        line += " " + item
    return "\n".join(lines + [line])


def array(name, kind, items, comment):
    return [f"/* {comment} */", f"const {kind} {name}[] = {{" if "[" not in kind else
            f"const {kind.split('[')[0]} {name}[][{kind.split('[')[1]} = {{", rows(items), "};"]


def range_table(name, table, comment):
    """Ranges, and for each block of 256 code points the range that its first one lies in."""
    starts = [c for c, _ in table]
    index, k = [], 0
    for block in range(0x301):
        while k + 1 < len(starts) and starts[k + 1] <= block << 8:
            k += 1
        index.append(k)
    index[-1] = len(table) - 1
    return array(f"elm_unicode_{name}", "uint32_t", [f"0x{c << 8 | v:x}," for c, v in table],
                 f"first code point << 8 | {comment}, ascending") + \
        array(f"elm_unicode_{name}_index", "uint16_t", [f"{i}," for i in index],
              "the range that holds the first code point of every block of 256 below U+30000; "
              "then the last range") + [""]


def set_table(name, members, comment):
    table = [c for c, _ in ranges(lambda c: c in members)][1:]
    return array(f"elm_unicode_{name}", "uint32_t", [f"0x{c:x}," for c in table],
                 f"{comment}: the ends of ranges: the first is in, the second is out, and so on") + \
        [f"const uint32_t elm_unicode_n_{name} = {len(table)};", ""]


def compositions():
    out = []
    for c in range(MAX):
        d = u.decomposition(chr(c))
        if not d or d.startswith("<") or c in HANGUL or c in SKIPPED:
            continue
        parts = [int(x, 16) for x in d.split()]
        if len(parts) == 2 and u.normalize("NFC", chr(c)) == chr(c):
            out.append((parts[0], parts[1], c))
    return sorted(out)


def unstable(composed):
    """Bit per form: the code point decomposes, combines with one before it, or is a mark."""
    seconds = {b for _, b, _ in composed} | set(range(0x1161, 0x1176)) | set(range(0x11A8, 0x11C3))

    def mask(c):
        if c in SKIPPED or 0xD800 <= c < 0xE000:
            return 0
        bits = 0
        for i, form in enumerate(FORMS):
            changes = u.normalize(form, chr(c)) != chr(c)
            if changes or u.combining(chr(c)) or ("C" in form and c in seconds):
                bits |= 1 << i
        return bits
    return ranges(mask)


def decomposition_tables():
    pool, text, entries = [], "", {False: [], True: []}
    todo = []
    for c in range(MAX):
        if c in HANGUL or 0xD800 <= c < 0xE000:
            continue
        canonical, compat = decomposition(c, False), decomposition(c, True)
        if canonical != [c]:
            todo.append((False, c, canonical))
        if compat != canonical:
            todo.append((True, c, compat))
    for kind, c, points in sorted(todo, key=lambda t: -len(t[2])):
        key = "".join(map(chr, points))
        at = text.find(key)
        if at < 0:
            at = len(text)
            text += key
            pool += points
        assert at < 1 << 24 and len(points) < 32
        entries[kind].append((c, at, len(points)))
    out = []
    for kind, name in ((False, "canonical"), (True, "compatible")):
        items = sorted(entries[kind])
        out += array(f"elm_unicode_{name}", "uint32_t[2]", [f"{{0x{c:x}, 0x{at << 8 | n:x}}}," for c, at, n in items],
                     "{code point, place in elm_unicode_points << 8 | length}, ascending")
        out += [f"const uint32_t elm_unicode_n_{name} = {len(items)};", ""]
    return out + array("elm_unicode_points", "uint32_t", [f"0x{c:x}," for c in pool], "decompositions") + [""]


def lower_table():
    pairs = {c: ord(chr(c).lower()) for c in range(MAX) if chr(c).lower() != chr(c) and len(chr(c).lower()) == 1}
    for first, last, lower in NEW_LOWER:
        pairs.update({c: lower + c - first for c in range(first, last + 1)})
    runs = []  # [first, last, step, delta]
    for c, low in sorted(pairs.items()):
        r = runs[-1] if runs else None
        if r and r[3] == low - c and (c - r[1] == r[2] or (r[0] == r[1] and c - r[1] <= 2)):
            r[2] = c - r[1]
            r[1] = c
        else:
            runs.append([c, c, 1, low - c])
    return array("elm_unicode_lower_rows", "int32_t[4]",
                 ["{" + f"0x{a:x}, 0x{b:x}, {s}, {d}" + "}," for a, b, s, d in runs],
                 "{first, last, step, distance to the lower case letter}, ascending") + \
        [f"const uint32_t elm_unicode_n_lower = {len(runs)};", ""]


def main():
    if u.unidata_version != VERSION:
        sys.exit(f"this Python has Unicode {u.unidata_version}; expected {VERSION}: install unicodedata2=={VERSION}")
    category = {c: u.category(chr(c)) for c in range(MAX)}
    punctuation = ({c for c in category if category[c][0] == "P"} - parse(NOT_PUNCTUATION)) | parse(PUNCTUATION)
    marks = ({c for c in category if category[c][0] == "M"} - parse(NOT_MARKS)) | parse(MARKS)
    composed = compositions()
    out = ["/* unicode_tables.c - Unicode as Hugging Face tokenizers knows it; written by",
           " * scripts/gen_unicode_tables.py, which says which table has which version; text. */",
           '#include "text/unicode.h"', ""]
    out += range_table("categories", ranges(lambda c: CATEGORIES.index(category[c])), "category")
    out += range_table("classes", ranges(lambda c: 0 if c in SKIPPED else u.combining(chr(c))), "combining class")
    out += range_table("unstable", unstable(composed), "bit set of forms under which it may change or combine")
    out += decomposition_tables()
    out += array("elm_unicode_compositions", "uint32_t[3]",
                 [f"{{0x{a:x}, 0x{b:x}, 0x{c:x}}}," for a, b, c in composed], "{first, second, composed}, ascending")
    out += [f"const uint32_t elm_unicode_n_compositions = {len(composed)};", ""]
    out += lower_table()
    out += set_table("marks", marks, "marks")
    out += set_table("punctuation", punctuation, "punctuation")
    text = "\n".join(out).rstrip("\n") + "\n"
    path = pathlib.Path(__file__).resolve().parent.parent / "src/text/unicode_tables.c"
    path.write_text(text)
    print(path, len(text), "bytes", file=sys.stderr)


main()
