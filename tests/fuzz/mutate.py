"""Seeded damage: what disks, networks and odd writers do to files, and what someone with bad intent might."""

from __future__ import annotations

import gzip
import random
import struct
import zlib
from collections.abc import Callable

HEAD = 1024  # bytes at the front and at the end in which most formats keep what describes the rest
EXTREMES = (
    0,
    1,
    2,
    3,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    1 << 63,
    2**64 - 1,
)
TIFF_STARTS = (b"II*\x00", b"MM\x00*")
PNG_START = b"\x89PNG\r\n\x1a\n"
GZIP_START = b"\x1f\x8b"

Mutator = Callable[[bytearray, random.Random], bytearray]


def flip(data: bytearray, chance: random.Random) -> bytearray:
    """Flip 1 to 64 bits, anywhere or at the front."""
    reach = chance.choice([len(data), min(len(data), HEAD)])
    for _ in range(2 ** chance.randint(0, 6)):
        data[chance.randrange(reach)] ^= 1 << chance.randrange(8)
    return data


def truncate(data: bytearray, chance: random.Random) -> bytearray:
    """Cut the file short: anywhere, at the front, or by a few bytes."""
    length = len(data)
    return data[
        : chance.choice([chance.randrange(length), chance.randrange(min(length, HEAD)), length - 1 - length // 50])
    ]


def integers(data: bytearray, chance: random.Random) -> bytearray:
    """Overwrite 1 to 4 integers at the front or the end with extreme values."""
    for _ in range(chance.randint(1, 4)):
        size, order = chance.choice([1, 2, 2, 4, 4, 8]), chance.choice(["little", "big"])
        reach = max(min(len(data), HEAD) - size, 1)
        at = chance.randrange(reach)
        if chance.random() < 0.25:
            at = len(data) - at - size
        value = chance.choice([*EXTREMES, chance.getrandbits(8 * size)]) % (1 << 8 * size)
        data[max(at, 0) : max(at, 0) + size] = value.to_bytes(size, order)
    return data


def fields(data: bytearray, chance: random.Random) -> bytearray:
    """Overwrite what the format keeps its sizes, types and offsets in, where it is known; else as `integers`."""
    places = _fields(data)
    if not places:
        return integers(data, chance)
    order = "little" if data[:2] == b"II" else "big"
    for at, size in chance.sample(places, min(len(places), chance.randint(1, 2))):
        value = chance.choice([*EXTREMES, 10**5, 40000, 17, chance.getrandbits(8 * size)]) % (1 << 8 * size)
        data[at : at + size] = value.to_bytes(size, order)
    return data


def zero(data: bytearray, chance: random.Random) -> bytearray:
    """Clear a block, as a disk does that lost a page."""
    start, stop = _block(data, chance)
    data[start:stop] = bytes(stop - start)
    return data


def swap(data: bytearray, chance: random.Random) -> bytearray:
    """Exchange two blocks of one length."""
    start, stop = _block(data, chance)
    other = chance.randrange(len(data) - (stop - start) + 1)
    first, second = data[start:stop], data[other : other + stop - start]
    data[start:stop], data[other : other + stop - start] = second, first
    return data


def duplicate(data: bytearray, chance: random.Random) -> bytearray:
    """Insert a copy of a block behind it."""
    start, stop = _block(data, chance)
    return data[:stop] + data[start:stop] + data[stop:]


def delete(data: bytearray, chance: random.Random) -> bytearray:
    """Leave a block out."""
    start, stop = _block(data, chance)
    return data[:start] + data[stop:]


MUTATORS: tuple[Mutator, ...] = (flip, truncate, integers, fields, zero, swap, duplicate, delete, fields, integers)


def mutated(data: bytes, seed: int) -> tuple[str, bytes]:
    """Return the name of the damage and the damaged bytes; the same seed does the same.

    Compressed files are damaged as they are or inside, and the checksums of a PNG made right again, every other time:
    what only breaks a checksum never reaches the reader behind it.

    Args:
        data: a file, not empty.
        seed: tells the damage.
    """
    chance = random.Random(seed)
    mutator = MUTATORS[seed % len(MUTATORS)]
    inside = chance.random() < 0.5
    if inside and data.startswith(GZIP_START):
        return f"{mutator.__name__} inside", gzip.compress(_changed(gzip.decompress(data), mutator, chance), 1, mtime=0)
    changed = _changed(data, mutator, chance)
    return mutator.__name__, with_checksums(changed) if inside and changed.startswith(PNG_START) else changed


def with_checksums(data: bytes) -> bytes:
    """Return a PNG whose chunks have the right checksums, as far as the chunks can be followed."""
    data, at = bytearray(data), len(PNG_START)
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if end + 4 > len(data):
            break
        data[end : end + 4] = zlib.crc32(data[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(data)


def _changed(data: bytes, mutator: Mutator, chance: random.Random) -> bytes:
    """Damage until something differs: a zeroed block may have been zero before."""
    for _ in range(20):
        changed = bytes(mutator(bytearray(data), chance))
        if changed != data:
            break
    return changed


def _block(data: bytearray, chance: random.Random) -> tuple[int, int]:
    length = min(2 ** chance.randint(2, 14), max(len(data) // 4, 1))
    start = chance.randrange(len(data) - length + 1)
    return start, start + length


def _fields(data: bytearray) -> list[tuple[int, int]]:
    """Return (offset, bytes) of the numbers that say how the rest is to be read."""
    if data[:4] in TIFF_STARTS:
        return _tiff_fields(data)
    if data.startswith(PNG_START):
        return [(16, 4), (20, 4), (24, 1), (25, 1), (26, 1), (27, 1), (28, 1), (8, 4), (33, 4)]
    if data.startswith(b"\xff\xd8"):
        return _jpeg_fields(data)
    return []


def _tiff_fields(data: bytearray) -> list[tuple[int, int]]:
    """Return the type, count and value of every entry of the first directories."""
    order, places = "<" if data[:2] == b"II" else ">", [(4, 4)]
    (at,) = struct.unpack_from(f"{order}I", data, 4)
    while len(places) < 400 and 0 < at < len(data) - 2:
        (count,) = struct.unpack_from(f"{order}H", data, at)
        entries = range(at + 2, min(at + 2 + 12 * count, len(data) - 16), 12)
        for entry in entries:
            size = 2 if struct.unpack_from(f"{order}H", data, entry + 2)[0] == 3 else 4
            places += [(entry + 2, 2), (entry + 4, 4), (entry + 8, size), (entry + 8, size)]
        if not entries:
            break
        (at,) = struct.unpack_from(f"{order}I", data, entries[-1] + 12)
    return places


def _jpeg_fields(data: bytearray) -> list[tuple[int, int]]:
    """Return the lengths of the segments, and the sizes and samplings of the frame."""
    at, places = 2, []
    while at + 20 < len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        places.append((at + 2, 2))
        if data[at + 1] in (0xC0, 0xC1, 0xC2):
            places += 3 * [(at + 4, 1), (at + 5, 2), (at + 7, 2), (at + 9, 1), (at + 11, 1)]
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return places
