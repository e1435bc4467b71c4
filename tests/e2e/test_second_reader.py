"""The C reader and tests/elm_reader.py, written from docs/elm-format.md alone, say the same of good and bad files."""
import hashlib
import os
import pathlib
import random
import shutil
import struct
import subprocess
import sys

from conftest import BIN, ROOT, run

sys.path.insert(0, str(ROOT / "tests"))
import elm_reader  # noqa: E402

TOOLS = pathlib.Path(BIN).parent / "tools"
SOAK = bool(os.environ.get("EDGE_LLM_SOAK"))
INTERESTING = (0, 1, 2, 3, 7, 8, 9, 12, 13, 16, 31, 32, 64, 88, 127, 128, 255, 4096, 65536, 1 << 20, 1 << 30,
               (1 << 31) - 1, 1 << 31, (1 << 32) - 1, (1 << 63), (1 << 64) - 1)


def put(data, at, value):
    data[at:at + len(value)] = value


def reseal(data, file):
    """The checksums of all sections, of the TOC and of the slot that counts, over what lies there now."""
    toc = file.toc_offset
    sums = toc + 32 + 128 * len(file.sections)
    for s in file.sections:
        for i, begin, end in file.chunks(s):
            put(data, sums + 4 * (s["first"] + i), struct.pack("<I", elm_reader.chunk_crc(i, bytes(data[begin:end]))))
    reseal_slot(data, file, True)


def reseal_slot(data, file, with_toc):
    at = 4096 if data[4096:4104] == b"ELM\x89\r\n\x1a\n" and file.generation % 2 == 0 else 0
    if with_toc:
        put(data, at + 48, hashlib.sha256(bytes(data[file.toc_offset:file.end])).digest())
    put(data, at + 84, struct.pack("<I", elm_reader.slot_crc(bytes(data[at:at + 4096]))))
    return at


def bad_files(good, rng, n):
    """Changed with and without new checksums: in slots, TOC, tensor table, products, anywhere; and cut off."""
    file = elm_reader.File(good)
    regions = [(file.toc_offset, 32 + 128 * len(file.sections))]
    regions += [(s["offset"], min(s["size"], 700)) for s in file.sections if s["type"] in (3, 9, 11, 12)] * 2
    slot = 4096 if file.generation % 2 == 0 else 0
    for i in range(n):
        data = bytearray(good)
        kind = i % 6
        if kind == 0:  # anywhere
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        elif kind == 1:  # a field of the slot, sealed
            size = rng.choice((2, 4, 8))
            at = slot + rng.randrange(8, 88 // size * size, size)
            put(data, at, (rng.choice(INTERESTING) % (1 << 8 * size)).to_bytes(size, "little"))
            reseal_slot(data, file, False)
        elif kind == 2:
            data = data[:rng.choice((rng.randrange(len(data)), rng.randrange(9000), len(data) - rng.randrange(1, 300)))]
        else:  # a field behind good checksums
            begin, length = rng.choice(regions)
            size = rng.choice((1, 2, 4, 8))
            at = begin + rng.randrange(0, max(1, length - size + 1)) // size * size
            value = rng.choice((rng.choice(INTERESTING), rng.randrange(256),
                                int.from_bytes(data[at:at + size], "little") + rng.choice((-1, 1, 32, 65536))))
            put(data, at, (value % (1 << 8 * size)).to_bytes(size, "little"))
            if begin == file.toc_offset:
                reseal_slot(data, file, True)
            else:
                reseal(data, file)
        yield bytes(data)


def test_two_readers_agree(tiny, tmp_path):
    with_product = pathlib.Path(shutil.copy(tiny("qwen3"), tmp_path / "product.elm"))
    subprocess.run([TOOLS / "product_tool", with_product, "cpu:a", '{"whole": true, "options": {"n": [1, 2]}}', "blob"],
                   check=True, stdout=subprocess.DEVNULL)
    dropped = tmp_path / "dropped.elm"
    run("strip", with_product, "-o", dropped, "--keep", "cpu:a", "--no-fallback")
    signed = pathlib.Path(shutil.copy(with_product, tmp_path / "signed.elm"))
    if shutil.which("openssl"):
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", tmp_path / "k.pem"], check=True)
        run("sign", signed, "--key", tmp_path / "k.pem", check=None)
    rng = random.Random(20)
    paths, expected = [], []
    for good in (tiny("qwen3"), tiny("gemma3", "--quant", "int8", "--zero-point"), tiny("qwen3_moe"),
                 tiny("gemma4_e4b"), with_product, dropped, signed):
        data = good.read_bytes()
        assert elm_reader.check(data).startswith("OK ")
        assert elm_reader.check(data).endswith("OK OK")
        for bad in [data, *bad_files(data, rng, 240 if SOAK else 24)]:
            path = tmp_path / f"{len(paths)}.elm"
            path.write_bytes(bad)
            paths.append(path)
            expected.append(elm_reader.check(bad))
    result = subprocess.run([TOOLS / "elm_check", *paths], capture_output=True, text=True, check=True)
    found = result.stdout.splitlines()
    differing = [(p.name, f, e) for p, f, e in zip(paths, found, expected, strict=True) if f != e]
    assert not differing, differing[:5]
    assert sum("MALFORMED" in e for e in expected) > len(expected) / 2
    assert sum("UNSUPPORTED" in e for e in expected) > 5
    for path in paths:
        path.unlink()


def test_the_documented_file_is_what_the_document_says(tmp_path):
    """Section 18, byte by byte: the dump gives a file, and both readers take it."""
    text = (ROOT / "docs" / "elm-format.md").read_text()
    section = text[text.index("## 18."):]
    data = bytearray(262572)
    for line in section.splitlines():
        words = line.split()
        if len(words) > 1 and len(words[0]) == 8 and all(len(w) == 2 for w in words[1:]):
            put(data, int(words[0], 16), bytes.fromhex("".join(words[1:])))
    assert len(data) == 262572
    assert hashlib.sha256(data).hexdigest() in section
    assert elm_reader.check(bytes(data)) == "OK OK OK OK"
    (tmp_path / "doc.elm").write_bytes(data)
    out = subprocess.run([TOOLS / "elm_check", tmp_path / "doc.elm"], capture_output=True, text=True).stdout
    assert out == "OK OK OK OK\n"
