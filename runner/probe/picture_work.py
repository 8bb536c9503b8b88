"""The work that the header of a picture asks for beyond its pixels, counted before it is done."""

from __future__ import annotations

import re
import struct
from typing import Any

_MOST_SCANS = 100  # of a JPEG, each of which takes a pass over all its pixels; cameras write ten

# A marker of a JPEG that a segment or the end follows; in between, bytes of 255 are followed by
# 0, or by a marker without a segment.
_MARKER = re.compile(rb"\xff([^\x00\x01\xff\xd0-\xd8])")
_END, _SCAN = b"\xd9", b"\xda"

_START_OF_CODES = b"\xff\x4f\xff\x51"
_SIZE, _CODING, _COMPONENT = 0xFF51, 0xFF52, 0xFF53
_TILE_PART, _DATA, _END_OF_CODES = 0xFF90, 0xFF93, 0xFFD9
_SEGMENTS = {*range(0xFF50, 0xFF65), _TILE_PART}
_MOST_COMPONENTS = 4  # of which Pillow makes pixels
_BROKEN = "it is incomplete or damaged"
# There may be a few tiles of a component, and precincts, or one for so many pixels.
_FEW, _TILE_PIXELS, _PRECINCT_PIXELS = 64, 1024, 256

# Numbers of a TIFF that libtiff reads by itself, and must read as Pillow does: its size and kind,
# and places and sizes of its parts.
_LAYOUT = {*range(256, 260), 262, 266, 273, *range(277, 280), 284, 317, *range(322, 326), 338, 339}
_INTEGERS = (3, 4, 16)  # types of numbers of 2, 4 and 8 bytes
_TILE_SIZE = (322, 323)
_MOST_TAGS = 4096
_SMALL_TILES = 1 << 22  # pixels of all tiles, which may be larger than a small picture


def check_work(opened: Any) -> None:
    """Check that a picture takes no more work than its pixels suggest.

    Parameters
    ----------
    opened
        The picture, from `PIL.Image.open`; not loaded yet.

    Raises
    ------
    ValueError
        If it does.
    """
    _check_pieces(opened.tile, *opened.size)
    if opened.format not in ("TIFF", "JPEG", "MPO", "JPEG2000"):
        return
    place = opened.fp.tell()
    if opened.format == "TIFF":
        _check_tiff(opened)
    else:
        opened.fp.seek(0)
        content = opened.fp.read()
        if opened.format == "JPEG2000":
            _check_jpeg2000(content, *opened.size)
        else:
            _check_jpeg(content)
    opened.fp.seek(place)


def _check_pieces(pieces: list[Any], width: int, height: int) -> None:
    """Check that the pieces that Pillow decodes one by one cover the picture once in each colour.

    A piece has a row or 256 pixels, except where the picture ends.
    """
    areas = [each[1] or (0, 0, width, height) for each in pieces]
    covered = sum((right - left) * (bottom - top) for left, top, right, bottom in areas)
    most = _FEW + _MOST_COMPONENTS * (width + height + width * height // 256)
    if len(pieces) > most or covered > _MOST_COMPONENTS * width * height:
        pixels = f"{width * height:,} pixels"
        raise ValueError(
            f"it has {len(pieces):,} pieces of {covered:,} pixels, too many for {pixels}"
        )


def _check_tiff(opened: Any) -> None:
    """Check the tiles of a TIFF, each of which libtiff decodes whole, whatever the picture's size.

    Source: TIFF 6.0, sections 2 and 15.
    """
    tags = opened.tag_v2
    width, height = tags[256], tags[257]  # before the picture is turned
    types = [(tag, kind) for tag, kind in _types(opened) if tag in _LAYOUT]
    sizes = [tags.get(tag, 1) for tag in _TILE_SIZE]
    is_plain = all(kind in _INTEGERS for _, kind in types) and len(dict(types)) == len(types)
    if not is_plain or not all(isinstance(each, int) and each > 0 for each in sizes):
        raise ValueError(_BROKEN)
    wide, tall = sizes
    pixels = -(-width // wide) * wide * -(-height // tall) * tall
    if pixels > _SMALL_TILES + 4 * width * height:
        raise ValueError(f"its tiles have {pixels:,} pixels, too many for {width * height:,}")


def _types(opened: Any) -> list[tuple[int, int]]:
    """Return each tag of a TIFF and the type of its numbers, also if Pillow passes over it."""
    tags, file = opened.tag_v2, opened.fp
    order = "<" if tags.prefix == b"II" else ">"
    is_big = file.seek(2) and file.read(2) in (b"+\0", b"\0+")
    number, entry = struct.Struct(f"{order}{'Q' if is_big else 'H'}"), 20 if is_big else 12
    file.seek(tags.offset)
    [count] = number.unpack(file.read(number.size))
    if count > _MOST_TAGS:
        raise ValueError(_BROKEN)
    return [struct.unpack(f"{order}2H", file.read(entry)[:4]) for _ in range(count)]


def _check_jpeg(content: bytes) -> None:
    place = scans = 0
    while (found := _MARKER.search(content, place)) and found[1] != _END:
        scans += found[1] == _SCAN
        place = found.end() + int.from_bytes(content[found.end() : found.end() + 2])
    if scans > _MOST_SCANS:
        raise ValueError(f"it has {scans:,} scans, the limit is {_MOST_SCANS}")


def _check_jpeg2000(content: bytes, width: int, height: int) -> None:
    """Check the tiles and precincts of a JPEG 2000, which OpenJPEG makes before it decodes.

    Source: ITU-T T.800, annexes A (the codestream) and I (the boxes of a file).
    """
    place, part = _codestream(content), 0
    if content[place : place + 4] != _START_OF_CODES:
        raise ValueError(_BROKEN)
    place += 2
    tiles, layers, components = 0, 0, 0
    while place + 4 <= len(content):
        marker, length = struct.unpack_from(">2H", content, place)
        if marker == _DATA and part > place:
            place = part
            continue
        if marker in (_DATA, _END_OF_CODES):
            break
        if marker not in _SEGMENTS:
            raise ValueError(_BROKEN)
        segment = content[place + 4 : place + 2 + length]
        if marker == _SIZE:
            tiles, components = _tiles(segment, width, height)
        elif marker == _TILE_PART:
            part = place + struct.unpack_from(">I", segment, 2)[0]
        elif marker in (_CODING, _COMPONENT):
            if marker == _CODING:
                layers = int.from_bytes(segment[2:4])
            flags, coding = (0, 5) if marker == _CODING else (1, 2)
            precincts = _precincts(segment[flags], segment[coding:], tiles, width, height)
            if precincts * layers * components > len(content):  # each of them takes a byte
                raise ValueError("it has fewer bytes than layers of its precincts")
        place += 2 + length


def _codestream(content: bytes) -> int:
    """Return where the codestream begins in a file of boxes, or of nothing else."""
    place = 0
    while not content.startswith(_START_OF_CODES, place):
        length, kind = struct.unpack_from(">I4s", content, place)
        start = 8
        if length == 1:
            start, length = 16, int.from_bytes(content[place + 8 : place + 16])
        if kind == b"jp2c":
            return place + start
        place += max(length, start)
    return place


def _tiles(size: bytes, width: int, height: int) -> tuple[int, int]:
    """Return the number of tiles and of components."""
    right, bottom, x, y, wide, tall, left, top, components = struct.unpack_from(">8IH", size, 2)
    is_whole = (right - x, bottom - y) == (width, height) and wide and tall
    if not is_whole or components > _MOST_COMPONENTS:
        raise ValueError(_BROKEN)
    tiles = -(-(right - left) // wide) * -(-(bottom - top) // tall)
    if tiles * components > _FEW + width * height // _TILE_PIXELS:
        raise ValueError(f"it has {tiles:,} tiles, too many for {width * height:,} pixels")
    return tiles, components


def _precincts(flags: int, coding: bytes, tiles: int, width: int, height: int) -> int:
    """Return the number of precincts of a component, of which each level of a tile has one."""
    levels, across, down = coding[:3]
    if across + down < 4:  # powers of two, of 4 pixels
        raise ValueError("it has code blocks of less than 256 pixels")
    precincts = 0
    for level, powers in enumerate(coding[5:] if flags & 1 else b""):
        shift = max(0, levels - level)
        wide, tall = 2 ** (shift + (powers & 15)), 2 ** (shift + (powers >> 4))
        precincts += -(-width // wide) * -(-height // tall)
    if precincts > _FEW + width * height // _PRECINCT_PIXELS:
        raise ValueError(f"it has {precincts:,} precincts, too many for {width * height:,} pixels")
    return max(precincts, tiles * (levels + 1))
