#!/usr/bin/env python3
"""A second reader of .pye files: shares no code with pye and uses nothing but what the specification and its tables say.

    reader.py list FILE...          what each file holds
    reader.py unpack FILE DIR       the .pyc files it holds, below DIR
    reader.py verify FILE...        "FILE: good", or "FILE: V12: why" with the first rule of validity.md that is broken

Python 3.9 or newer, standard library only. Everything is kept in memory: this is to be read, not to be fast.
"""

import csv
import os
import re
import struct
import sys
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))


def table(name):
    with open(os.path.join(HERE, name), newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


SECTIONS = table("sections.tsv")
NAMES = [row["name"] for row in SECTIONS]
WIDTHS = {row["name"]: int(row["character_bytes"]) for row in SECTIONS if row["character_bytes"] != "-"}
KINDS = [(row["name"], row["section"], int(row["width"])) for row in table("kinds.tsv")]
VERSIONS = {tuple(map(int, row["version"].split("."))): int(row["header_bytes"]) for row in table("versions.tsv")}
MODULE_KINDS = {int(row["number"]): row["name"] for row in table("modules.tsv") if row["field"] == "kind"}
LEVELS = {int(row["number"]) for row in table("modules.tsv") if row["field"] == "level"}
RAW, MODULE, PACKAGE, NAMESPACE = range(4)
MINOR = 1  # of the version that this reads
UNKNOWN = -(2**63)


class Broken(Exception):
    """A rule of validity.md is broken."""


def need(good, rule, why):
    if not good:
        raise Broken(f"{rule}: {why}")


# ---- open: container.md ----------------------------------------------------------------------------------------------


def elf_sections(data):
    """The sections of sections.tsv: name to (offset, size)."""
    need(data[:4] == b"\x7fELF", "V1", "no ELF magic")
    need(len(data) >= 64 and data[4] == 2 and data[6] == 1, "V2", "not ELF64")
    need(data[5] == 1, "V3", "not little-endian")
    (at,), (entry, count, names) = struct.unpack_from("<Q", data, 0x28), struct.unpack_from("<3H", data, 0x3A)
    need(at == 0 or entry == 64 and at + 64 <= len(data), "V4", "section headers outside the file")
    if at and (count == 0 or names == 0xFFFF):  # ELF's extension: the null section holds what overflows
        _, _, _, _, _, size, link, *_ = struct.unpack_from("<2I4Q2I2Q", data, at)
        count, names = count or size, link if names == 0xFFFF else names
    need(at + 64 * count <= len(data), "V4", "section headers outside the file")
    headers = [struct.unpack_from("<2I4Q2I2Q", data, at + 64 * i) for i in range(count if at else 0)]
    strings = b""
    if headers:
        need(names < count, "V4", "no section of names")
        start, size = headers[names][4:6]
        need(start + size <= len(data), "V4", "section names outside the file")
        strings = data[start : start + size]
    found = {}
    for name_at, kind, flags, _, start, size, *_ in headers:
        name = strings[name_at:].split(b"\0")[0].decode("utf-8", "replace")
        if name not in NAMES:
            continue
        need(kind == 1, "V6", f"{name} is of type {kind}")
        need(not flags & 0x800, "V7", f"{name} is compressed")
        need(name not in found, "V8", f"{name} occurs twice")
        need(start + size <= len(data), "V9", f"{name} ends outside the file")
        found[name] = (start, size)
    need(".pye.header" in found, "V5", "no .pye.header")
    extents = sorted([(0, 64), *((start, size) for start, size in found.values() if size)])
    for (start, size), (following, _) in zip(extents, extents[1:]):
        need(start + size <= following, "V10", f"sections overlap at {following}")
    return found


class Pye:
    def __init__(self, data):
        self.places = elf_sections(data)
        self.parts = {name: b"" for name in NAMES}
        self.parts.update({name: data[start : start + size] for name, (start, size) in self.places.items()})
        header = self.parts[".pye.header"]
        need(header[:8] == b"\x89pye\r\n\x1a\n", "V12" if len(header) >= 12 else "V11", "another magic")
        need(len(header) >= 12, "V11", "header cut off")
        self.version = struct.unpack_from("<2H", header, 8)
        need(self.version[0] == 1, "V13", f"format version {self.version[0]}.{self.version[1]}: this reads 1.x")
        need(len(header) >= 48, "V11", f"a header of {len(header)} bytes")
        self.flags, self.min_blob, self.count, self.pyc_bytes, rows, reserved = struct.unpack_from("<3IQ2I", header, 12)
        need(len(header) == 48 + 16 * rows, "V11", f"a header of {len(header)} bytes with {rows} rows")
        crc, zeros = struct.unpack_from("<2I", header, len(header) - 8)
        need(zlib.crc32(header[:-8]) == crc, "V14", "the header's CRC32 is wrong")
        need(zeros == reserved == 0, "V15", "reserved bytes after the number of rows or the header's CRC32")
        need(self.flags & ~1 == 0, "V16", f"reserved flags {self.flags:#x}")
        listed = [row for row in SECTIONS[1:] if int(row["since_minor"]) <= self.version[1]]
        known = len(listed)
        need(rows == known or rows > known and self.version[1] > MINOR, "V54", f"{rows} rows in version 1.{self.version[1]}")
        self.rows = {}
        for row in listed:
            size, crc, zeros = struct.unpack_from("<Q2I", header, int(row["header_row_offset"]))
            need(zeros == 0, "V17", "reserved bytes after a section's CRC32")
            self.rows[row["name"]] = (size, crc)
        for name in NAMES[1:]:
            size = self.rows.get(name, (0,))[0]
            need(len(self.parts[name]) == size, "V18", f"{name} has {len(self.parts[name])} bytes, not {size}")
        need(len(self.parts[".pye.modules"]) == 64 * self.count, "V19", "records and modules differ in number")
        self.package = bool(self.flags & 1)

    def directories(self):
        """Rows: path, mtime in nanoseconds or None, number of the first name, names."""
        section, found = self.parts[".pye.directories"], []
        if not section:
            return found
        need(len(section) >= 8, "V55", "directories cut off")
        rows, entries = struct.unpack_from("<2I", section)
        need(len(section) == 8 + 24 * rows + 4 * entries, "V55", f"{rows} directories with {entries} names in {len(section)} bytes")
        names = [name for name, in struct.iter_unpack("<I", section[8 + 24 * rows :])]
        for path, first, count, zeros, mtime in struct.iter_unpack("<4Iq", section[8 : 8 + 24 * rows]):
            need(zeros == 0, "V56", "reserved bytes in a row of directories")
            need(first + count <= entries, "V57", f"names {first} to {first + count} of {entries}")
            path = self.name(path, "V58")
            need(not path or not {b"", b".", b".."} & set(path.split(b"/")), "V59", f"directory {path}")
            listed = [self.name(name, "V58", 256) for name in names[first : first + count]]
            for name in listed:
                good = re.fullmatch(rb"[^./]+(/|\.py|\.pyc|\.([^/]*\.)?so)", name, re.DOTALL)
                need(good and len(name.removesuffix(b"/")) <= 255, "V60", f"name {name}")
            found.append((path, None if mtime == UNKNOWN else mtime, first, listed))
        return found

    def modules(self):
        return [Module(self, number) for number in range(self.count)]

    def name(self, at, rule="V24", most=4096):
        names = self.parts[".pye.names"]
        end = names.find(b"\0", at, at + most + 1)
        need(at < len(names) and end >= 0, rule, f"no name at {at}")
        return names[at:end]


# ---- image: image.md --------------------------------------------------------------------------------------------------

OBJECTS = [".pye.image.code", ".pye.image.names", ".pye.image.data", ".pye.image.patch", ".pye.image.once"]


class Image:
    """Head and tables of an image; objects are not looked at."""

    def __init__(self, pye):
        data, crc = pye.parts[".pye.image"], pye.rows[".pye.image"][1]
        need(zlib.crc32(data) == crc, "V65", "the CRC32 of .pye.image is wrong")
        version, = struct.unpack_from("<I", data.ljust(4, b"\0"))
        need(version == 1, "V66", f"image version {version}")
        need(len(data) >= 176, "V69", "head cut off")
        self.relocation, self.base, self.interpreter, self.hexversion, length = struct.unpack_from("<I2Q2I", data, 4)
        self.build_id = data[32 : 32 + length]
        need(1 <= length <= 32 and not any(data[32 + length : 64]), "V68", f"a build-id of {length} bytes")
        self.versions = struct.unpack_from("<2I", data, 64)
        self.hot, self.names = struct.unpack_from("<5Q", data, 72), struct.unpack_from("<2Q", data, 112)
        counts = modules, patches, made, pages, root, runs = struct.unpack_from("<6I", data, 128)
        places, zeros = struct.unpack_from("<2I", data, 152)
        need(self.relocation <= 2 and zeros == 0, "V67", f"flags {self.relocation}, reserved bytes {zeros}")
        self.sample, tables, at = data[160:176], [], 176
        for count, size in zip(counts, (32, 16, 8, 4, 1)):
            need(at + count * size <= len(data), "V69", "tables cut off")
            tables.append(data[at : at + count * size])
            at += count * size
        try:
            self.root = tables[4].decode()
        except UnicodeDecodeError:
            need(False, "V69", "a root that is not UTF-8")
        marshal = data[at:]
        self.starts, end = {}, None
        for name in OBJECTS:
            start, size = pye.places.get(name, (0, 0))
            if size:
                need(start % 4096 == size % 4096 == 0 and end in (None, start), "V70", f"{size} bytes at {start}")
                self.starts[name], end = start, start + size
        need(end is not None, "V70", "no objects")
        first, size = min(self.starts.values()), {name: len(pye.parts[name]) for name in OBJECTS}
        where = [pye.places.get(name, (0, 0)) for name in (".pye.str1", ".pye.str2", ".pye.str4", *OBJECTS)]
        all_pages = (end - first) // 4096
        self.relocations, self.run_table = pye.parts[".pye.image.reloc"], pye.parts[".pye.image.pages"]
        here = zlib.crc32(struct.pack("<8Q", *(start if size else 0 for start, size in where)))
        need(here == places, "V71", "sections are not where they were written")
        need(pages == all_pages and len(self.relocations) == 68 * pages, "V72", f"{pages} pages of {all_pages}")
        need(len(self.run_table) == 8 * runs, "V72", f"{runs} runs")
        need(self.base % 4096 == 0 and self.base + end < 1 << 64, "V73", f"a base of {self.base:#x}")
        need(all(hot <= size[name] for hot, name in zip(self.hot, OBJECTS)), "V74", f"hot parts of {self.hot}")
        limit = size[".pye.image.names"]
        need(self.names[0] <= self.hot[1] and self.names[0] <= self.names[1] <= limit, "V74", f"names up to {self.names}")
        need(self.versions[0] and sum(self.versions) < 1 << 32, "V75", f"code versions {self.versions}")
        self.modules = list(struct.iter_unpack("<2IQ4I", tables[0]))
        once, patch = (next((self.starts[n] for n in OBJECTS[i:] if n in self.starts), end) for i in (4, 3))
        last = -1
        for record, _, code, run, run_count, row, row_count in self.modules:
            inside = once <= code < end and code % 8 == 0 and run + run_count <= runs and row + row_count <= patches
            need(inside and record > last, "V76", f"the module of record {record}")
            last = record
        self.patches = [(slot, number) for slot, number, _ in struct.iter_unpack("<Q2I", tables[1])]
        need(not any(zeros for *_, zeros in struct.iter_unpack("<Q2I", tables[1])), "V77", "reserved bytes of a patch")
        for slot, number in self.patches:
            need(patch <= slot < end and slot % 8 == 0 and 0 < number < made, "V77", f"object {number} at {slot}")
        self.made = []
        for start, length in struct.iter_unpack("<2I", tables[2]):
            need(start + length <= len(marshal), "V78", f"{length} bytes of marshal data at {start}")
            self.made.append(marshal[start : start + length])
        self.crcs = [crc for crc, in struct.iter_unpack("<I", tables[3])]
        self.objects = b"".join(pye.parts[name] for name in OBJECTS)

    def runs(self, module):
        """The pages that a module needs: the first of each run, and how many."""
        _, crc, _, first, count, *_ = module
        rows = self.run_table[8 * first : 8 * (first + count)]
        need(zlib.crc32(rows) == crc, "V79", "the CRC32 of a module's runs is wrong")
        found = list(struct.iter_unpack("<2I", rows))
        need(all(first + count <= len(self.crcs) for first, count in found), "V79", "a run of pages that are not there")
        return found

    def marked(self, page):
        """The words of a page that are relocated."""
        bits, crc = self.relocations[68 * page : 68 * page + 64], self.relocations[68 * page + 64 : 68 * page + 68]
        need(zlib.crc32(bits) == int.from_bytes(crc, "little"), "V80", f"the CRC32 of the relocations of page {page} is wrong")
        return [word for word in range(512) if bits[word // 8] >> word % 8 & 1]

    def page(self, page):
        data = self.objects[4096 * page : 4096 * (page + 1)]
        need(zlib.crc32(data) == self.crcs[page], "V81", f"the CRC32 of page {page} is wrong")
        return data


def image_of(pye):
    return Image(pye) if pye.parts[".pye.image"] else None


# ---- module: package.md ----------------------------------------------------------------------------------------------


class Module:
    def __init__(self, pye, number):
        (name, path, self.control_at, self.holes_at, self.control_len, self.holes_len, self.hole_count, self.pyc_crc, self.pyc_len,
         self.flags, self.magic, self.kind, self.level, major, minor, self.word) = struct.unpack_from(
            "<2I2Q6I4s4B8s", pye.parts[".pye.modules"], 64 * number)  # fmt: skip
        self.number, self.python = number, (major, minor)
        need(self.kind in MODULE_KINDS, "V20", f"kind {self.kind}")
        need(self.level in LEVELS, "V21", f"level {self.level}")
        control, holes = pye.parts[".pye.control"], pye.parts[".pye.holes"]
        need(self.control_at + self.control_len <= len(control), "V22", "control stream outside its section")
        need(self.holes_at + self.holes_len <= len(holes), "V23", "table of holes outside its section")
        self.control = control[self.control_at : self.control_at + self.control_len]
        self.table = holes[self.holes_at : self.holes_at + self.holes_len]
        self.name, self.path = pye.name(name), pye.name(path)
        parts = self.path.split(b"/")
        need(pye.package or len(parts) == 1, "V26", f"path {self.path}")
        need(not {b"", b".", b".."} & set(parts), "V25", f"path {self.path}")
        self.key = (self.name, self.python, self.level)
        self.indexed = bool(self.name) and self.kind != RAW and self.level != 255
        self.preference = ({PACKAGE: 0, MODULE: 1}.get(self.kind, 2), self.path.split(b"/")[-2:-1] != [b"__pycache__"], number)


# ---- join: control.md, blobs.md --------------------------------------------------------------------------------------


def varint(data, at):
    value = 0
    for i in range(10):
        need(at + i < len(data), "V27", "a varint is cut off")
        value |= (data[at + i] & 0x7F) << 7 * i
        if data[at + i] < 0x80:
            need(value < 1 << 64 and (i == 0 or data[at + i]), "V27", "a varint is too large or padded")
            return value, at + i + 1
    raise Broken("V27: a varint of more than 10 bytes")


def holes(data):
    """The holes of a table: gap, kind, and (length, place) of a blob or a list of numbers."""
    at, expected = 0, dict.fromkeys(WIDTHS, 0)
    while at < len(data):
        gap, at = varint(data, at)
        head, at = varint(data, at)
        kind, length = head & 7, head >> 3
        _, section, width = KINDS[kind]
        if section == "-":
            need(at + length * width <= len(data), "V29", "numbers of references are cut off")
            yield gap, kind, [number for number, in struct.iter_unpack("<B" if width == 1 else "<H", data[at : at + length * width])]
            at += length * width
        else:
            zigzag, at = varint(data, at)
            place = expected[section] + (zigzag >> 1 ^ -(zigzag & 1))
            need(0 <= place < 1 << 48 and length < 1 << 48, "V28", f"a blob of {length} at {place}")
            expected[section] = place + length + 1
            yield gap, kind, (length, place)


def join(pye, module):
    out, used = [], 0
    for gap, kind, fill in holes(module.table):
        need(gap <= len(module.control) - used, "V30", "a gap beyond the control stream")
        out.append(module.control[used : used + gap])
        used += gap
        name, section, width = KINDS[kind]
        if section == "-":
            out.extend(b"r" + struct.pack("<I", number) for number in fill)
            continue
        length, place = fill
        need((place + length + 1) * width <= len(pye.parts[section]), "V31", f"a blob outside {section}")
        stored = pye.parts[section][place * width : (place + length) * width]
        out.append(stored if name in ("ascii", "latin1", "bytes") else "".join(map(chr, characters(stored, width))).encode("utf-8", "surrogatepass"))
    out.append(module.control[used:])
    pyc = b"".join(out)
    need(len(pyc) == module.pyc_len and zlib.crc32(pyc) == module.pyc_crc, "V33", "another .pyc than the record says")
    return pyc


def characters(stored, width):
    numbers = [number for number, in struct.iter_unpack({1: "<B", 2: "<H", 4: "<I"}[width], stored)]
    need(max(numbers, default=0) <= 0x10FFFF, "V32", "a character above U+10FFFF")
    return numbers


# ---- verify: validity.md ---------------------------------------------------------------------------------------------


def verify(pye):
    modules = pye.modules()
    real = [m for m in modules if m.kind != NAMESPACE]
    total = sum(m.pyc_len for m in modules)
    sane = total <= max(16 * sum(map(len, pye.parts.values())), 1 << 24)
    for module in real if sane else []:
        join(pye, module)
    image_of(pye)
    for name, (_, crc) in pye.rows.items():
        need(zlib.crc32(pye.parts[name]) == crc, "V34", f"the CRC32 of {name} is wrong")
    for name, width in WIDTHS.items():
        need(pye.places.get(name, (0,))[0] % width == 0, "V35", f"{name} is not aligned")
    need(pye.package or len(modules) == 1, "V36", f"{len(modules)} records in a file of one module")
    order = [(*m.key, m.path) for m in modules]
    need(all(a < b for a, b in zip(order, order[1:])), "V37", "records out of order")
    ends = [0, 0]
    for m in modules:
        need([m.control_at, m.holes_at] == ends, "V38", f"a gap or an overlap before record {m.number}")
        ends = [ends[0] + m.control_len, ends[1] + m.holes_len]
        need(m.python == (0, 0) if m.kind == RAW else m.python in VERSIONS, "V39", f"version {m.python}")
        if m.kind == NAMESPACE:
            sizes = (m.control_len, m.holes_len, m.hole_count, m.pyc_crc, m.pyc_len)
            need(not any(sizes), "V41", "a namespace with a file")
        elif m.kind != RAW:
            length = VERSIONS[m.python]
            flags = struct.pack("<I", m.flags) if length == 16 else b""
            need(m.control[:length].ljust(8 + len(flags) + 4, b"\0") == m.magic + flags + m.word, "V40", "another header than the .pyc's")
            need(len(m.control) >= length and (flags or not m.flags), "V40", "another header than the .pyc's")
    need(ends == [len(pye.parts[".pye.control"]), len(pye.parts[".pye.holes"])], "V38", "bytes of no module")
    need(total == pye.pyc_bytes, "V42", f"{total} bytes of .pyc in all")
    need(sane, "V43", f"{total} bytes of .pyc from so small a file")
    need(len({m.path for m in real}) == len(real), "V44", "two modules with one path")
    for module in modules:
        verify_holes(pye, module)
    verify_index(pye, modules)
    verify_directories(pye)
    verify_image(pye, modules)


def verify_directories(pye):
    need(pye.package or not pye.parts[".pye.directories"], "V64", "directories in a file of one module")
    directories, end = pye.directories(), 0
    paths = [path for path, *_ in directories]
    need(all(a < b for a, b in zip(paths, paths[1:])), "V61", "directories out of order")
    for path, _, first, names in directories:
        need(first == end, "V62", f"the names of {path} start at {first}")
        end += len(names)
        need(all(a < b for a, b in zip(names, names[1:])), "V63", f"names of {path} out of order")
    if directories:
        need(end == struct.unpack_from("<I", pye.parts[".pye.directories"], 4)[0], "V62", "names of no directory")


def verify_image(pye, modules):
    """What can be said without looking at objects."""
    image = image_of(pye)
    if not image:
        need(not any(pye.parts[name] for name in NAMES if name.startswith(".pye.image")), "V82", "an image without its head")
        return
    need(pye.package, "V83", "an image in a file of one module")
    for module in image.modules:
        record, found = module[0], image.runs(module)
        good = record < len(modules) and modules[record].kind in (MODULE, PACKAGE)
        need(good and modules[record].python == (image.hexversion >> 24, image.hexversion >> 16 & 255), "V84", f"record {record}")
        ends = [first + count for first, count in found]
        need(all(count for _, count in found) and all(a < first for a, (first, _) in zip(ends, found[1:])), "V85", "runs out of order")
    for what, first, count, rows in (("runs", 3, 4, len(image.run_table) // 8), ("patches", 5, 6, len(image.patches))):
        end = 0
        for start, length in sorted((module[first], module[count]) for module in image.modules):
            need(length == 0 or start == end, "V85", f"{what} of two modules or of none")
            end += length
        need(end == rows, "V85", f"{what} of no module")
    for page in range(len(image.crcs)):
        image.marked(page)
        image.page(page)


def verify_holes(pye, module):
    found = list(holes(module.table))
    need(len(found) == module.hole_count, "V45", f"{len(found)} holes")
    for _, kind, fill in found:
        name, section, width = KINDS[kind]
        if section == "-":
            continue
        (length, place), part = fill, pye.parts[section]
        need(not any(part[(place + length) * width : (place + length + 1) * width]), "V46", "no NUL after a blob")
        highest = max(characters(part[place * width : (place + length) * width], width), default=0)
        low, high = {"ascii": (0, 0x7F), "latin1": (0x80, 0xFF), "latin1utf8": (0x80, 0xFF), "ucs2": (0x100, 0xFFFF),
                     "ucs4": (0x10000, 0x10FFFF), "bytes": (0, 0xFF)}[name]  # fmt: skip
        need(low <= highest <= high, "V47", f"{name} text whose highest character is U+{highest:04X}")


def index_hash(key):
    value = 0x811C9DC5
    for byte in (*key[0], *key[1], key[2]):
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


def buckets(pye):
    return [number for number, in struct.iter_unpack("<I", pye.parts[".pye.index"][4:])]


def verify_index(pye, modules):
    index = pye.parts[".pye.index"]
    if not index and not pye.package:
        return
    count = struct.unpack_from("<I", index)[0] if len(index) >= 4 else 0
    need(count and count & count - 1 == 0 and len(index) == 4 + 4 * count, "V48", f"{count} buckets in {len(index)} bytes")
    best = {}
    for module in filter(lambda m: m.indexed, modules):
        if module.key not in best or module.preference < best[module.key].preference:
            best[module.key] = module
    need(count >= 2 * len(best), "V49", f"{count} buckets for {len(best)} keys")
    preferred, seen, found = {m.number for m in best.values()}, set(), buckets(pye)
    for at, number in enumerate(found):
        if number:
            need(number - 1 in preferred, "V50", f"bucket {at} names record {number - 1}")
            need(number not in seen, "V51", f"record {number - 1} is in two buckets")
            seen.add(number)
            probe = index_hash(modules[number - 1].key) % count
            while probe != at:
                need(found[probe], "V52", f"record {number - 1} is not found from its home")
                probe = (probe + 1) % count
    need(len(seen) == len(best), "V53", "a record that is not in the index")


# ---- Commands --------------------------------------------------------------------------------------------------------


def show(pye):
    print(f"format {pye.version[0]}.{pye.version[1]} flags {pye.flags:#x} min-blob {pye.min_blob}")
    print(f"modules {pye.count} pyc-bytes {pye.pyc_bytes}")
    for name, (size, crc) in pye.rows.items():
        print(f"section {name} size {size} crc {crc:08x}")
    if pye.package:
        print(f"index of {len(buckets(pye))} buckets")
        for at, number in enumerate(buckets(pye)):
            if number:
                print(f"  bucket {at} record {number - 1}")
    for path, mtime, _, names in pye.directories():
        print(f"directory {path.decode() or '-'} mtime {'unknown' if mtime is None else mtime}")
        for name in names:
            print(f"  {name.decode()}")
    image = image_of(pye)
    if image:
        print(f"image base {image.base:#x} interpreter {image.interpreter:#x} hexversion {image.hexversion:#x}")
        print(f"  build-id {image.build_id.hex()} sample {image.sample.hex()}")
        print(f"  root {image.root}")
        print(f"  relocation {('at-fork', 'lazy', 'never')[image.relocation]}")
        print(f"  versions {image.versions[0]}+{image.versions[1]}")
        print(f"  hot {' '.join(map(str, image.hot))} names {' '.join(map(str, image.names))}")
        marked = sum(len(image.marked(page)) for page in range(len(image.crcs)))
        print(f"  pages {len(image.crcs)} relocations {marked}")
        for number, data in enumerate(image.made):
            print(f"  made {number} {data.hex()}")
        for module in image.modules:
            print(f"  module record {module[0]} code {module[2]}")
            print("    pages " + " ".join(f"{first}+{count}" for first, count in image.runs(module)))
            for slot, made in image.patches[module[5] : module[5] + module[6]]:
                print(f"    slot {slot} made {made}")
    for m in pye.modules():
        kind, python = MODULE_KINDS[m.kind], "%d.%d" % m.python
        print(f"module {m.number} {kind} {m.name.decode() or '-'} python {python} level {m.level}")
        print(f"  path {m.path.decode()}")
        print(f"  pyc {m.pyc_len} crc {m.pyc_crc:08x} magic {m.magic.hex()} flags {m.flags} word {m.word.hex()}")
        print(f"  control {m.control_at}+{m.control_len} holes {m.holes_at}+{m.holes_len} count {m.hole_count}")
        for gap, kind, fill in holes(m.table):
            name, section, _ = KINDS[kind]
            print(f"  gap {gap} {name} " + (str(fill) if section == "-" else f"of {fill[0]} at {fill[1]} of {section}"))


def unpack(pye, directory):
    for module in pye.modules():
        if module.kind != NAMESPACE:
            target = os.path.join(os.fsencode(directory), module.path)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "wb") as file:
                file.write(join(pye, module))


def main(command, *arguments):
    files, good = arguments[:1] if command == "unpack" else arguments, True
    for path in files:
        with open(path, "rb") as file:
            data = file.read()
        try:
            pye = Pye(data)
            if command == "list":
                show(pye)
            elif command == "unpack":
                unpack(pye, arguments[1])
            else:
                verify(pye)
                print(f"{path}: good")
        except Broken as error:
            good = False
            print(f"{path}: {error}")
    return 0 if good else 1


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in ("list", "unpack", "verify") or sys.argv[1] == "unpack" and len(sys.argv) != 4:
        sys.exit(__doc__)
    sys.stdout.reconfigure(encoding="utf-8")
    sys.exit(main(*sys.argv[1:]))
