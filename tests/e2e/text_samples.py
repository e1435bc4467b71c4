"""Random Unicode strings, weighted to what tokenizers get wrong: scripts, marks, spaces, digits, emoji, controls, and
code points that no version of Unicode has assigned."""

import random
import unicodedata

SPACES = [
    0x20,
    0x20,
    0x20,
    0x09,
    0x0A,
    0x0D,
    0x0B,
    0x0C,
    0x85,
    0xA0,
    0x1680,
    0x2000,
    0x2009,
    0x2028,
    0x2029,
    0x202F,
    0x205F,
    0x3000,
    0x1C,
    0x1F,
    0x200B,
    0x180E,
    0xFEFF,
]
ODD = [
    0x17F,
    0x212A,
    0x130,
    0x131,
    0x1E9E,
    0xDF,
    0x2019,
    0x27,
    0x2581,
    0xFE0F,
    0x200C,
    0x200D,
    0x340,
    0x341,
    0x343,
    0x344,
    0x345,
    0x37E,
    0x387,
    0xF43,
    0xF71,
    0xF72,
    0xF73,
    0x1E9B,
    0x2126,
    0x212B,
    0xFB01,
    0xFDFA,
    0xFFFD,
    0xFFFE,
    0xFFFF,
    0x10FFFF,
    0xE000,
    0xF0000,
    0x0,
    0x7F,
    0xAD,
    0x600,
    0x110BD,
    0x1D173,
    0xE0041,
]
RANGES = {
    "ascii": [(0x20, 0x7F)],
    "letters": [(0x41, 0x5B), (0x61, 0x7B)],
    "latin": [(0xA0, 0x250)],
    "extended": [(0x1E00, 0x2000)],
    "greek_cyrillic": [(0x370, 0x530)],
    "marks": [(0x300, 0x370), (0x1AB0, 0x1B00), (0x20D0, 0x2100)],
    "semitic": [(0x590, 0x800), (0x8A0, 0x900)],
    "indic": [(0x900, 0xE00)],
    "southeast": [(0xE00, 0x1100), (0x1780, 0x1800)],
    "hangul": [(0x1100, 0x1200), (0xAC00, 0xAE00), (0xA960, 0xA980), (0xD7B0, 0xD800)],
    "kana": [(0x3040, 0x3100), (0x31F0, 0x3200)],
    "han": [(0x4E00, 0x5200), (0x3400, 0x3420), (0x20000, 0x20040), (0xF900, 0xFB00), (0x2F800, 0x2F880)],
    "other_scripts": [
        (0x530, 0x590),
        (0x10A0, 0x1100),
        (0x1200, 0x1780),
        (0x1800, 0x1AB0),
        (0x1B00, 0x1D00),
        (0xA000, 0xA960),
    ],
    "symbols": [(0x2010, 0x2070), (0x2070, 0x2C00), (0x3000, 0x3040), (0xFE00, 0x10000)],
    "digits": [(0x30, 0x3A)] * 3
    + [(0x660, 0x66A), (0x966, 0x970), (0xFF10, 0xFF1A), (0x2150, 0x2190), (0x1D7CE, 0x1D800), (0xB2, 0xBA)],
    "emoji": [(0x1F300, 0x1F700), (0x1F900, 0x1FB00), (0x1F1E6, 0x1F200), (0x1F3FB, 0x1F400), (0x2600, 0x2700)],
    "astral": [
        (0x10000, 0x10400),
        (0x10A00, 0x11000),
        (0x11000, 0x11200),
        (0x1D100, 0x1D200),
        (0x1D400, 0x1D800),
        (0x1E800, 0x1F000),
    ],
    "controls": [(0x0, 0x20), (0x7F, 0xA0), (0x2000, 0x2010), (0x2060, 0x2070), (0xE0000, 0xE0080)],
    "private": [(0xE000, 0xE100)],
}
WEIGHTS = {"ascii": 5, "letters": 5, "digits": 3, "marks": 3, "emoji": 2, "controls": 2}
WORDS = [
    "it's",
    "I'LL",
    "don't",
    " hello",
    "  two",
    "\n\n",
    "\r\n",
    "123456",
    " 42",
    "e\u0301",
    "\u1100\u1161\u11a8",
    "\u212bngstr\u00f6m",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\u0e01\u0e33",
    "\u0915\u094d\u0937",
    "\u2581a",
    "<0x41>",
    "\u00e9",
    "q\u0307\u0323",
    "\u0301x",
    "DON'T",
    "\u017ft",
    "'\u017f",
    "The",
    " quick",
    "...",
    "!?",
    "http://a.b/c?d=e",
    "<",
    ">",
    "|",
    "_x1",
    "\U0001f1e9\U0001f1ea",
]


def unassigned():
    return [c for c in range(0x110000) if unicodedata.category(chr(c)) == "Cn"][::37]


UNASSIGNED = unassigned()
NAMES = list(RANGES)
NAME_WEIGHTS = [WEIGHTS.get(n, 1) for n in NAMES]


def point(rng, name):
    while True:
        low, high = rng.choice(RANGES[name])
        c = rng.randrange(low, high)
        if not 0xD800 <= c < 0xE000:
            return chr(c)


def piece(rng, words):
    kind = rng.random()
    if kind < 0.15:
        return rng.choice(words)
    if kind < 0.30:
        return "".join(chr(rng.choice(SPACES)) for _ in range(rng.choice([1, 1, 1, 2, 3, 8])))
    if kind < 0.36:
        return chr(rng.choice(ODD))
    if kind < 0.39:
        return chr(rng.choice(UNASSIGNED))
    if kind < 0.41:
        c = rng.randrange(0x110000)
        return "" if 0xD800 <= c < 0xE000 else chr(c)
    if kind < 0.44:
        return rng.choice(["a", " ", "1", "\u0301", "\U0001f600", "\n", "-", "\u4e00", "A"]) * rng.choice(
            [2, 5, 20, 70]
        )
    name = rng.choices(NAMES, NAME_WEIGHTS)[0]
    return "".join(point(rng, name) for _ in range(rng.choice([1, 2, 3, 4, 6, 12])))


def texts(seed, count, words=()):
    """`words` (special tokens, say) are spelled among the rest."""
    rng = random.Random(seed)
    words = WORDS + list(words)
    return ["".join(piece(rng, words) for _ in range(rng.choice([0, 1, 1, 2, 3, 5, 8, 15, 30]))) for _ in range(count)]
