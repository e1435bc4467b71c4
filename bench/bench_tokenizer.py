#!/usr/bin/env python3
"""Speed of the tokenizer beside Hugging Face `tokenizers`, on prose and on inputs made to be slow.

    bench/bench_tokenizer.py TOKENIZER.json [MB]

Prints a Markdown table: MB/s of both (one thread, fastest of three), how much longer four times as much text takes, and
the calls of the allocator. Needs build/tools/text_tool (EDGE_LLM_TESTS=ON) and the Python environment of the tests."""

import os
import pathlib
import pydoc_data.topics
import random
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "e2e"))
import text_tool  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402


def fill(make, size):
    text = ""
    while len(text.encode()) < size:
        text += make()
    return text.encode()[:size].decode("utf-8", "ignore")


def inputs(size):
    rng = random.Random(1)
    prose = "\n".join(pydoc_data.topics.topics.values())
    letters = "etaoinshrdlucmfw"

    def some(alphabet, n=4096):
        return fill(lambda: "".join(rng.choice(alphabet) for _ in range(n)), size)

    def runs(c):
        return fill(lambda: c * 65536, size)

    return {
        "English": fill(lambda: prose, size),
        "one letter": runs("a"),
        "spaces": runs(" "),
        "newlines": runs("\n"),
        "emoji": runs("\U0001f600"),
        "digits": some("0123456789"),
        "one word": some(letters),
        "two letters": some("ab"),
        "upper and lower": some(letters + letters.upper()),
        "Han": some([chr(c) for c in range(0x4E00, 0x5000)]),
        "Thai": some([chr(c) for c in range(0xE01, 0xE2F)]),
        "marks": fill(lambda: "e" + "".join(chr(rng.randrange(0x300, 0x340)) for _ in range(65536)), size),
        "apostrophes": runs("'s"),
        "brackets": runs("<"),
        "half a token": runs("<|im_star"),
        "spaces and letters": some("    a"),
        "any code point": some([chr(c) for c in range(32, 0x30000, 7) if not 0xD800 <= c < 0xE000]),
    }


def hugging_face(reference, text):
    best = 1e9
    for _ in range(3):
        begin = time.perf_counter()
        reference.encode(text, add_special_tokens=False)
        best = min(best, time.perf_counter() - begin)
        if best > 2:
            break
    return best


def main():
    path, size = sys.argv[1], int(float(sys.argv[2]) * 1e6) if len(sys.argv) > 2 else 1_000_000
    reference = Tokenizer.from_file(path)
    small, large = inputs(size), inputs(4 * size)
    ours = text_tool.time(path, list(small.values()) + list(large.values()))
    print(f"| {pathlib.Path(path).stem} | MB/s | Hugging Face MB/s | time of 4x | allocations |\n|---|---|---|---|---|")
    for i, (name, text) in enumerate(small.items()):
        (a, calls, _), (b, _, _) = ours[i], ours[i + len(small)]
        mb = len(text.encode()) / 1e6
        print(
            f"| {name} | {mb / a:.1f} | {mb / hugging_face(reference, text):.1f} | {b / a:.2f}x | {calls} |", flush=True
        )


main()
