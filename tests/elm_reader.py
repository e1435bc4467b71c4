"""A second reader of .elm files, written from docs/elm-format.md alone: the specification is complete when this
program and the C reader agree on every good and bad file. Usage: elm_reader.py FILE..."""
import hashlib
import json
import struct
import sys

SLOT, ALIGN = 4096, 65536
MUST, MANY = {1, 2, 3, 4, 5, 6}, {9, 10, 11}
KNOWN = set(range(1, 13))
# dtype: bits of a code, has scales, has zero points, number of layouts (ROWS, P16)
DTYPES = {0: (32, 0, 0, 2), 1: (16, 0, 0, 2), 2: (16, 0, 0, 2), 3: (8, 1, 0, 2), 4: (4, 1, 0, 2), 5: (8, 1, 1, 2),
          6: (4, 1, 1, 2), 7: (32, 0, 0, 1)}
MAX_DIM = 2**30


class Malformed(Exception):
    pass


class Unsupported(Exception):
    pass


def require(holds, what):
    if not holds:
        raise Malformed(what)


def crc_table():
    table = []
    for i in range(256):
        for _ in range(8):
            i = i >> 1 ^ (0x82f63b78 if i & 1 else 0)
        table.append(i)
    return table


TABLE = crc_table()


def crc32c(data, crc=0):
    crc ^= 0xffffffff
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 255]
    return crc ^ 0xffffffff


def slot_crc(slot):
    return crc32c(slot[:84] + b"\0\0\0\0" + slot[88:])


def chunk_crc(index, data):
    return crc32c(struct.pack("<I", index) + data)


def is_power_of_two(n):
    return n > 0 and n & (n - 1) == 0


class File:
    """Opens as section 15 says. Afterwards: sections, damaged slots, committed end."""

    def __init__(self, data):
        self.data = data
        self.slot_damaged = [False, False]
        self.choose_slot()
        self.read_toc()

    # ---- section 3 ----

    def judge(self, index):
        """None: empty; False: damaged; else (generation, toc_offset, toc_bytes, committed_end)."""
        slot = self.data[index * SLOT:(index + 1) * SLOT]
        if len(slot) < SLOT:
            return False if index == 0 else None
        if not any(slot):
            return None
        magic, major, minor, size, generation, offset, n, end, sha, reserved, crc = struct.unpack(
            "<8sHHIQQQQ32sII", slot[:88])
        if magic != b"ELM\x89\r\n\x1a\n" or crc != slot_crc(slot):
            return False
        if (major, minor) != (0, 1):
            raise Unsupported(f"version {major}.{minor}")
        if (size != SLOT or generation < 1 or offset % ALIGN or offset < ALIGN or not 32 <= n <= 64 << 20
                or end != offset + n or end >= 2**64 or reserved or any(slot[88:]) or end > len(self.data)):
            return False
        if hashlib.sha256(self.data[offset:end]).digest() != sha:
            return False
        return generation, offset, n, end

    def choose_slot(self):
        best = None
        for i in range(2):
            slot = self.judge(i)
            self.slot_damaged[i] = slot is False
            if slot and (best is None or slot[0] > best[0]):
                best = slot
        require(best, "no valid slot")
        self.generation, self.toc_offset, self.toc_bytes, self.end = best

    # ---- section 4 ----

    def read_toc(self):
        toc = self.data[self.toc_offset:self.end]
        magic, n, record, n_checksums, previous = struct.unpack("<8sIIQQ", toc[:32])
        require(magic == b"ELMTOC\0\0" and n <= 256 and record == 128, "head of the TOC")
        require(len(toc) == 32 + 128 * n + 4 * n_checksums, "size of the TOC")
        require(previous % ALIGN == 0 and (previous < self.toc_offset), "previous TOC")
        self.sections, end, first = [], ALIGN, 0
        for i in range(n):
            s = dict(zip(("type", "flags", "offset", "size", "alignment", "chunk", "n_chunks", "first", "sha256",
                          "name"), struct.unpack("<IIQQQIIQ32s48s", toc[32 + 128 * i:160 + 128 * i])))
            self.check_section(s, end, first, n_checksums)
            end, first = s["offset"] + s["size"], first + s["n_chunks"]
            self.sections.append(s)
        require(first == n_checksums, "number of checksums")
        self.checksums = struct.unpack(f"<{n_checksums}I", toc[32 + 128 * n:])

    def check_section(self, s, end, first, n_checksums):
        name = s["name"].rstrip(b"\0")
        require(len(name) < 48 and all(0x20 < c < 0x7f for c in name), "name")
        require(s["flags"] & ~1 == 0, "flags")
        if s["type"] not in KNOWN:
            if s["flags"] & 1:
                raise Unsupported(f"section {s['type']}")
        else:
            require(s["flags"] == (s["type"] in MUST), "must-understand flag")
            require(bool(name) == (s["type"] == 9), "name of a product")
            twins = [o for o in self.sections if o["type"] == s["type"] and (s["type"] != 9 or o["name"] == s["name"])]
            require(not twins or (s["type"] in MANY and s["type"] != 9), "section occurs twice")
        require(is_power_of_two(s["alignment"]) and ALIGN <= s["alignment"] <= 2**30, "alignment")
        require(s["offset"] % s["alignment"] == 0 and s["offset"] >= end, "offset")
        require(s["offset"] + s["size"] <= self.toc_offset, "size")
        require(is_power_of_two(s["chunk"]) and 4096 <= s["chunk"] <= 1 << 20, "chunk")
        require(s["n_chunks"] == -(-s["size"] // s["chunk"]), "number of chunks")
        require(s["first"] == first and first + s["n_chunks"] <= n_checksums, "first checksum")

    def find(self, kind):
        return next((s for s in self.sections if s["type"] == kind), None)

    def chunks(self, s):
        for i in range(s["n_chunks"]):
            begin = s["offset"] + i * s["chunk"]
            yield i, begin, min(begin + s["chunk"], s["offset"] + s["size"])

    def content(self, s):
        """Section 5: checked before it is used."""
        for i, begin, end in self.chunks(s):
            require(chunk_crc(i, self.data[begin:end]) == self.checksums[s["first"] + i], "chunk checksum")
        return self.data[s["offset"]:s["offset"] + s["size"]]

    # ---- section 16 ----

    def verify(self):
        require(not any(self.slot_damaged), "damaged slot")
        at = 2 * SLOT
        for s in self.sections:
            require(not any(self.data[at:s["offset"]]), "padding")
            self.content(s)
            at = s["offset"] + s["size"]
        require(not any(self.data[at:self.toc_offset]), "padding")

    # ---- section 9 ----

    def tensors(self):
        table, weights = self.find(3), self.find(4)
        require(table, "no TENSORS")
        data = self.content(table)
        if not weights:
            raise (Unsupported if self.find(12) else Malformed)("no WEIGHTS")
        require(len(data) >= 8, "TENSORS")
        n, record = struct.unpack("<II", data[:8])
        require(record == 88 and n <= 2**20 and len(data) >= 8 + 88 * n, "TENSORS")
        names, used, planes, seen = data[8 + 88 * n:], 0, [], set()
        for i in range(n):
            f = struct.unpack("<IHBBB3s4IIiI6Q", data[8 + 88 * i:96 + 88 * i])
            name_offset, name_bytes, dtype, layout, n_dims, zero = f[:6]
            dims, (group, exponent, zero2), offsets, sizes = f[6:10], f[10:13], f[13::2], f[14::2]
            require(not any(zero) and zero2 == 0, "reserved")
            require(name_offset == used and used + name_bytes <= len(names), "name")
            name, used = names[used:used + name_bytes], used + name_bytes
            require(1 <= len(name) <= 512 and all(c >= 0x20 and c != 0x7f for c in name), "name")
            try:
                name.decode("utf-8")
            except UnicodeDecodeError:
                raise Malformed("name") from None
            require(name not in seen, "two tensors of one name")
            seen.add(name)
            expected = plane_sizes(dtype, layout, n_dims, dims, group, exponent)
            for p in range(3):
                require(sizes[p] == expected[p], "size of a plane")
                align = 16384 if p == 0 and layout == 1 else 64
                require(offsets[p] % align == 0 if sizes[p] else offsets[p] == 0, "place of a plane")
                require(offsets[p] + sizes[p] <= weights["size"], "plane outside")
                if sizes[p]:
                    planes.append((offsets[p], sizes[p]))
        require(used == len(names), "names")
        planes.sort()
        for a, b in zip(planes, planes[1:]):
            require(a[0] + a[1] <= b[0], "planes overlap")

    # ---- section 13 ----

    def extras(self):
        dropped = self.find(12)
        if dropped:
            data, last = self.content(dropped), 0
            require(len(data) % 48 == 0, "DROPPED")
            for at in range(0, len(data), 48):
                kind, zero = struct.unpack("<II", data[at:at + 8])
                require(zero == 0 and last < kind <= 8 and not self.find(kind), "DROPPED")
                last = kind
        for s in self.sections:
            if s["type"] == 9:
                self.product(self.content(s))
            elif s["type"] == 11:
                data = self.content(s)
                require(len(data) == 144 and data[:8] == b"ELMSIG\0\0", "SIGNATURE")
                algorithm, kind = struct.unpack("<II", data[8:16])
                if algorithm != 1 or kind not in (1, 2):
                    raise Unsupported("signature")

    def product(self, data):
        require(len(data) >= 160 and data[:8] == b"ELMPROD\0", "product")
        head, n, offset, size = struct.unpack("<IIQQ", data[8:32])
        require(head == 160 and n <= 2**20 and 160 + n <= len(data), "product")
        require(offset == -(-(160 + n) // 4096) * 4096 and offset + size == len(data), "blob")
        require(not any(data[128:160]) and not any(data[160 + n:offset]), "product")
        require(isinstance(strict_json(data[160:160 + n]), dict), "record")


def strict_json(data):
    def no_twins(pairs):
        require(len({k for k, _ in pairs}) == len(pairs), "key twice")
        return dict(pairs)

    def refuse(_):
        raise Malformed("no number of RFC 8259")
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=no_twins, parse_constant=refuse)
    except (ValueError, RecursionError):
        raise Malformed("JSON") from None


def plane_sizes(dtype, layout, n_dims, dims, group, exponent):
    """Sections 9 and 10: bytes of codes, scales, zero points."""
    require(dtype in DTYPES and layout < DTYPES[dtype][3], "dtype or layout")
    bits, scales, zeros, _ = DTYPES[dtype]
    require(1 <= n_dims <= 4, "n_dims")
    require(all(1 <= d <= MAX_DIM for d in dims[:n_dims]) and not any(dims[n_dims:]), "dims")
    require(abs(exponent) <= (126 if scales else 0), "scale_exp")
    if scales:
        cols = dims[n_dims - 1]
        require(group in (32, 64, 128) or (group % 32 == 0 and cols <= group <= MAX_DIM), "group")
    else:
        require(group == 0, "group")
    if layout == 0 and not scales:
        size = bits // 8
        for d in dims[:n_dims]:
            size *= d
        require(size < 2**64, "size")
        return size, 0, 0
    require(n_dims == 2 or (layout == 1 and n_dims == 3), "n_dims")
    rows, cols = dims[n_dims - 2:n_dims]
    if layout == 1:
        rows = -(-rows // 16) * 16 * (dims[0] if n_dims == 3 else 1)
        require(rows <= MAX_DIM, "rows of a stack")
    groups = -(-cols // group) if scales else 0
    sizes = rows * (groups * group if scales else cols) * bits // 8, rows * groups * 2, rows * groups * zeros
    require(all(size < 2**64 for size in sizes), "size")
    return sizes


def status_of(step):
    try:
        step()
        return "OK"
    except Malformed:
        return "MALFORMED"
    except Unsupported:
        return "UNSUPPORTED"


def check(data):
    """What tests/tools/elm_check prints."""
    holder = []
    opened = status_of(lambda: holder.append(File(data)))
    if opened != "OK":
        return f"{opened} - - -"
    file = holder[0]
    return f"OK {status_of(file.tensors)} {status_of(file.verify)} {status_of(file.extras)}"


if __name__ == "__main__":
    for path in sys.argv[1:]:
        with open(path, "rb") as f:
            print(check(f.read()))
