"""Pictures that ask for far more work than their pixels suggest."""

from __future__ import annotations

import io
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, features

from runner.errors import InputError
from runner.probe.source import open_probe
from runner.sources.images import ImagesConfig

needs_jpeg2000 = pytest.mark.skipif(not features.check("jpg_2000"), reason="Pillow lacks OpenJPEG")


def decoded() -> list[Any]:
    source = ImagesConfig(source="images", path="pictures", size=[2, 2, 3])
    return [*open_probe(source, []).batches(10)]


def is_refused(said: str) -> bool:
    with pytest.raises(InputError, match=re.escape(f": cannot be read as a picture: {said}")):
        decoded()
    return True


def written(format: str, **options: Any) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype="uint8")
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format, **options)
    return file.getvalue()


def keep(content: bytes) -> None:
    Path("pictures").mkdir(exist_ok=True)
    Path("pictures/a.jpg").write_bytes(content)


def test_a_jpeg_with_many_scans_is_refused() -> None:
    jpeg = written("JPEG", progressive=True)
    last = jpeg.rindex(b"\xff\xda")
    keep(jpeg[:-2] + 89 * jpeg[last:-2] + jpeg[-2:] + 500 * b"\xff\xda\0\2")  # a film behind it
    assert len(decoded()) == 1
    keep(jpeg[:-2] + 1000 * jpeg[last:-2] + jpeg[-2:])
    assert is_refused("it has 1,010 scans, the limit is 100")


def jpeg2000(side: int, tile: int, coding: bytes, more: bytes = b"") -> bytes:
    """Return the header of a JPEG 2000 of three components, without the data of a tile."""
    size = struct.pack(">H8IH", 0, side, side, 0, 0, tile, tile, 0, 0, 3) + b"\7\1\1" * 3
    part = struct.pack(">HHIBB", 10, 0, 14 + len(more), 0, 1)
    segments = ((0x51, size), (0x52, coding), (0x5C, b"\x40\x48"))
    told = [struct.pack(">BBH", 255, kind, 2 + len(data)) + data for kind, data in segments]
    return b"\xff\x4f" + b"".join(told) + b"\xff\x90" + part + more + b"\xff\x93\xff\xd9"


PLAIN = bytes((0, 0, 0, 1, 0, 0, 4, 4, 0, 1))


@needs_jpeg2000
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (jpeg2000(250, 1, PLAIN), "it has 62,500 tiles, too many for 62,500 pixels"),
        (
            jpeg2000(2048, 2048, b"\1" + PLAIN[1:] + b"\0"),
            "it has 4,194,304 precincts, too many for 4,194,304 pixels",
        ),
        (
            jpeg2000(2048, 2048, PLAIN, b"\xff\x53\0\x0a\0\1\0\4\4\0\1\0"),
            "it has 4,194,304 precincts, too many for 4,194,304 pixels",
        ),
        (
            jpeg2000(2048, 2048, PLAIN[:6] + b"\0\0\0\1"),
            "it has code blocks of less than 256 pixels",
        ),
        (
            jpeg2000(250, 250, b"\0\0\xff\xff" + PLAIN[4:]),
            "it has fewer bytes than layers of its precincts",
        ),
        (
            jpeg2000(250, 250, PLAIN).replace(b"\xff\x52", b"\xff\x30\xff\x52"),
            "it is incomplete or damaged",
        ),
    ],
)
def test_a_jpeg_2000_of_many_parts_is_refused(content: bytes, said: str) -> None:
    keep(content)
    assert is_refused(said)


@needs_jpeg2000
@pytest.mark.parametrize(
    "options",
    [
        {"tile_size": (128, 128)},
        {"precinct_size": (64, 64), "codeblock_size": (32, 32)},
        {"no_jp2": True, "quality_layers": [20, 5]},
    ],
)
def test_a_jpeg_2000_in_usual_parts_is_decoded(options: dict[str, Any]) -> None:
    keep(written("JPEG2000", **options))
    assert len(decoded()) == 1


def tiff(side: int, big: bool = False, **entries: tuple[int, ...]) -> bytes:
    """Return a grey TIFF: tags as t322=(type, value) or t324=(type, value, how often)."""
    found = {256: (4, side), 257: (4, side), 258: (3, 8), 259: (3, 1), 262: (3, 1), 277: (3, 1)}
    found.pop(259 if "t259" in entries else 0, None)
    listed = [*found.items(), *((int(tag[1:4]), entry) for tag, entry in entries.items())]
    start = 16 + 8 + 20 * len(listed) + 8 if big else 8 + 2 + 12 * len(listed) + 4
    packed, data = "<HHQQ" if big else "<HHII", b""
    written = struct.pack("<Q" if big else "<H", len(listed))
    for tag, (kind, value, *often) in sorted(listed):
        written += struct.pack(packed, tag, kind, *(often or (1,)), start if often else value)
        data += struct.pack("<I", value) * sum(often)
    header = b"II+\0\x08\0\0\0" + struct.pack("<Q", 16) if big else b"II*\0\x08\0\0\0"
    return header + written + (b"\0" * 8 if big else b"\0" * 4) + data


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(
    ("entries", "said"),
    [
        (
            {"t322": (4, 16), "t323": (4, 8), "t324": (4, 8, 1000), "t325": (4, 128)},
            "it has 1,000 pieces of 128,000 pixels, too many for 256 pixels",
        ),
        (
            {"t278": (4, 8), "t273": (4, 8, 1000), "t279": (4, 128)},
            "it has 1,000 pieces of 128,000 pixels, too many for 256 pixels",
        ),
        (
            {
                "t259": (3, 8),
                "t322": (4, 65536),
                "t323": (4, 32752),
                "t324": (4, 8),
                "t325": (4, 9),
            },
            "its tiles have 2,146,435,072 pixels, too many for 256",
        ),
        (
            {"t259": (3, 8), "t322": (17, 65536), "t323": (17, 32752), "t324": (4, 8)},
            "it is incomplete or damaged",
        ),
        (
            {"t259": (3, 8), "t322": (4, 16), "t322b": (4, 65536), "t323": (4, 16), "t324": (4, 8)},
            "it is incomplete or damaged",
        ),
    ],
)
def test_a_tiff_of_many_or_large_tiles_is_refused(
    entries: dict[str, Any], said: str, big: bool
) -> None:
    keep(tiff(16, big, **entries))
    assert is_refused(said)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"big_tiff": True},
        {"compression": "tiff_lzw", "tiffinfo": {278: 1}},
        {"compression": "jpeg"},
        {"compression": "tiff_adobe_deflate", "big_tiff": True},
    ],
)
def test_a_tiff_in_usual_parts_is_decoded(options: dict[str, Any]) -> None:
    keep(written("TIFF", **options))
    assert len(decoded()) == 1
    pixels = zlib.compress(bytes(512 * 512))
    place = {"t324": (4, 8), "t325": (4, len(pixels))}
    head = tiff(64, t259=(3, 8), t322=(4, 512), t323=(4, 512), **place)
    place["t324"] = (4, len(head))
    keep(tiff(64, t259=(3, 8), t322=(4, 512), t323=(4, 512), **place) + pixels)
    assert len(decoded()) == 1
