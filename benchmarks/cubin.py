"""Registers, stack and spills of the kernels in a CUDA binary (cubin), read from the ELF file itself.

The attributes of `.nv.info` have each kernel's registers and stack. Loads and stores of local memory (LDL and STL, by
their opcodes since Volta) are spilled registers and arrays that are indexed by a variable.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

FRAME_SIZE, REGISTERS = 0x11, 0x2F
LOAD_LOCAL, STORE_LOCAL = 0x983, 0x387
INSTRUCTION = 16
"""Bytes of an instruction."""
SYMBOL_TABLE = 2
"""Type of an ELF section."""


class KernelResources(NamedTuple):
    """Resources of one kernel."""

    name: str
    registers: int
    stack: int  # bytes per thread
    loads: int  # instructions that read local memory
    stores: int
    code: int  # bytes


def kernel_resources(path: Path) -> list[KernelResources]:
    """Resources of all kernels in a cubin."""
    data = path.read_bytes()
    (table,) = struct.unpack_from("<Q", data, 0x28)
    size, count, names = struct.unpack_from("<HHH", data, 0x3A)
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, table + i * size) for i in range(count)]
    titles = [_text(data, sections[names][4] + section[0]) for section in sections]
    symbols = next(section for section in sections if section[1] == SYMBOL_TABLE)
    strings = sections[symbols[6]][4]
    attributes: dict[str, dict[int, int]] = {}
    for title, section in zip(titles, sections, strict=True):
        if title == ".nv.info":
            for kind, symbol, value in _attributes(data, section[4], section[5]):
                (start,) = struct.unpack_from("<I", data, symbols[4] + 24 * symbol)
                attributes.setdefault(_text(data, strings + start), {})[kind] = value
    found = []
    for title, section in zip(titles, sections, strict=True):
        name = title.removeprefix(".text.")
        if name != title and REGISTERS in attributes.get(name, {}):
            code = data[section[4] : section[4] + section[5]]
            opcodes = [struct.unpack_from("<H", code, i)[0] & 0xFFF for i in range(0, len(code), INSTRUCTION)]
            loads, stores = opcodes.count(LOAD_LOCAL), opcodes.count(STORE_LOCAL)
            known = attributes[name]
            found.append(KernelResources(name, known[REGISTERS], known.get(FRAME_SIZE, 0), loads, stores, len(code)))
    return found


def _text(data: bytes, start: int) -> str:
    """A string that ends with a zero byte."""
    return data[start : data.index(b"\0", start)].decode()


def _attributes(data: bytes, start: int, size: int) -> list[tuple[int, int, int]]:
    """Kind, symbol and value of the attributes in a section of `.nv.info`."""
    found, place = [], start
    while place < start + size:
        form, kind, length = struct.unpack_from("<BBH", data, place)
        place += 4
        if form == 4:
            if kind in (FRAME_SIZE, REGISTERS):
                found.append((kind, *struct.unpack_from("<II", data, place)))
            place += length
    return found
