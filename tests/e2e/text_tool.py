"""Drives build/tools/text_tool: one process for many strings, templates, id lists (tests/tools/text_tool.c)."""

import json
import os
import pathlib
import struct
import subprocess

from conftest import BIN

TOOL = str(pathlib.Path(BIN).parent / "tools" / "text_tool")
SOAK = os.environ.get("EDGE_LLM_SOAK") == "1"
INPUT, TEMPLATE = 0, 1
ADD_SPECIAL, DECODE, SKIP_SPECIAL = 1, 2, 4


class Refused(Exception):
    """The tokenizer does not convert; the text is the reason."""


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        value = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return value

    def bytes(self):
        n = self.take("I")[0]
        self.at += n
        return self.data[self.at - n : self.at]


def _run(args, data):
    result = subprocess.run([TOOL, *map(str, args)], input=data, capture_output=True, timeout=3600)
    if result.returncode == 3:
        raise Refused(result.stdout.decode())
    assert result.returncode == 0, result.stderr.decode("utf-8", "replace")[-2000:]
    return Reader(result.stdout)


def _tokenizer(path, records):
    r = _run(["tokenizer", path], b"".join(records))
    out = []
    for _ in records:
        if r.take("i")[0] != 0:
            out.append((r.bytes().decode(), None))
            continue
        n = r.take("I")[0]
        ids = list(r.take(f"{n}i"))
        out.append((ids, r.bytes()))
    assert r.at == len(r.data)
    return out


def encode(path, texts, add_special=True, origin=TEMPLATE):
    """[(ids, decoded bytes) or (message, None)] of str, bytes, or lists of (origin, text) parts."""
    records = []
    for text in texts:
        parts = text if isinstance(text, list) else [(origin, text)]
        record = [struct.pack("<BI", ADD_SPECIAL if add_special else 0, len(parts))]
        for of, part in parts:
            raw = part.encode() if isinstance(part, str) else part
            record.append(struct.pack("<BI", of, len(raw)) + raw)
        records.append(b"".join(record))
    return _tokenizer(path, records)


def decode(path, lists, skip_special=False):
    """The texts of lists of ids, decoded id by id."""
    flags = DECODE | (SKIP_SPECIAL if skip_special else 0)
    records = [struct.pack(f"<BI{len(ids)}i", flags, len(ids), *ids) for ids in lists]
    return [text.decode() for _, text in _tokenizer(path, records)]


def time(path, texts, runs=3):
    """[(seconds, allocator calls, ids)] of encoding each text as template."""
    r = _run(["time", path, runs], b"".join(struct.pack("<I", len(t.encode())) + t.encode() for t in texts))
    return [r.take("dII") for _ in texts]


def answer(jobs):
    """[(thoughts, text, calls, names told before)] of (template source, pieces of the answer, thinking, tools)."""
    data = []
    for source, pieces, thinking, tools in jobs:
        a, b = source.encode(), json.dumps(tools).encode()
        data.append(
            struct.pack("<I", len(a)) + a + struct.pack("<BI", thinking, len(b)) + b + struct.pack("<I", len(pieces))
        )
        data += [struct.pack("<I", len(p.encode())) + p.encode() for p in pieces]
    r = _run(["answer"], b"".join(data))
    out = []
    for _ in jobs:
        status, n = r.take("iI")
        assert status == 0
        parts = {0: [], 1: [], 2: [], 3: []}
        for _ in range(n):
            parts[r.take("B")[0]].append(r.bytes().decode())
        out.append(("".join(parts[1]), "".join(parts[0]), [json.loads(c) for c in parts[2]], parts[3]))
    return out


def render(jobs, now=0):
    """[(status, text or message, parts)] of (source, variables) pairs; a part is (origin, text)."""
    data = []
    for source, variables in jobs:
        a = source.encode() if isinstance(source, str) else source
        b = json.dumps(variables).encode()
        data.append(struct.pack("<qI", now, len(a)) + a + struct.pack("<I", len(b)) + b)
    r = _run(["template"], b"".join(data))
    out = []
    for _ in jobs:
        status = r.take("i")[0]
        text = r.bytes()
        parts, begin = [], 0
        for _ in range(r.take("I")[0] if status == 0 else 0):
            end, origin = r.take("IB")
            parts.append((origin, text[begin:end].decode()))
            begin = end
        out.append((status, text.decode("utf-8", "replace"), parts))
    return out
