"""Probes from tar files in the layout of WebDataset."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np

from runner.config.references import ProbePlace
from runner.config.strict import Length
from runner.errors import InputError, some
from runner.given_files import GivenFile
from runner.given_folders import given_place
from runner.probe.array_files import read_array
from runner.probe.memory_sources import as_probe
from runner.probe.picture_files import (
    FORMATS,
    formats_of,
    load_pillow,
    opened_picture,
)
from runner.probe.pictures import LARGEST, PictureDecoder, PictureSource, declared_size, shown_size
from runner.probe.probe import Probe
from runner.probe.sample_ids import numbers_or_text
from runner.probe.tar_samples import ENDINGS, TarSample, TarSamples
from runner.sizes import readable
from runner.tensors import InputSpec, shape_text

# Samples that are read at once: their number, or the size of their files.
_BLOCK, _BLOCK_BYTES = 32, 2**23
_TEXT_BYTES = 2**20  # of a label's file
_CLASS, _ATTRIBUTES, _ARRAY = "cls", "json", "npy"


class TarPlace(ProbePlace):
    """A tar file, or a folder of them."""

    def reads(self, name: str, start: bytes) -> bool:  # noqa: ARG002
        """Return whether a file is a tar file, by its name."""
        return name.endswith(ENDINGS)


class WebdatasetConfig(PictureSource):
    """Tar files in the layout of WebDataset: a tar file, or a folder of them.

    Files that follow one another and have a name in common, up to the first dot, are a sample, and
    this name is its id.
    """

    order = 65
    examples: ClassVar[dict[str, str]] = {
        "path": "probe=webdataset probe.path=shards",
        "input": "probe.input=npy",
        "label_key": "probe.label_key=species",
        **PictureSource.examples,
        "max_bytes": "probe.max_bytes=1000000000",
    }

    source: Literal["webdataset"]
    path: TarPlace
    """The file or the folder."""
    input: str | None = None
    """Ending of the files that are shown, pictures or `npy`; `null`: the only such ending."""
    label_key: str | None = None
    """Key of the label in a sample's `.json`; `null`: the label is its `.cls`, if it has one."""
    max_bytes: Length = LARGEST
    """Limit in bytes on a sample's file; larger ones are refused."""

    def open(self, expected: Sequence[InputSpec]) -> Probe:
        """Return the probe of the samples, which are read in one pass.

        Raises
        ------
        InputError
            If a file is no tar file, or a sample lacks a file or has another shape.
        """
        shards = [TarSamples(file, self.max_bytes) for file in self._files()]
        endings = [*next(shards[0].samples(())).files]
        shown = self._shown(endings)
        labels = _ATTRIBUTES if self.label_key else _CLASS if _CLASS in endings else None
        if shown.rpartition(".")[2] == _ARRAY:
            stacked = partial(_arrays, ending=shown, limit=self.max_bytes)
        else:
            stacked = partial(
                _pictures, ending=shown, decoder=self._decoder(shards[0], shown, expected)
            )

        def batches() -> Iterator[dict[str, Any]]:
            for block in _blocks(shards, (shown,) if labels is None else (shown, labels)):
                batch = {"inputs": stacked(block), "sample_ids": [each.key for each in block]}
                if labels is not None:
                    batch["labels"] = numbers_or_text([self._label(each) for each in block])
                yield batch

        return as_probe(batches, source=f"webdataset {self.path}")

    def _files(self) -> list[GivenFile]:
        given = given_place(self.path, "probe.path")
        if isinstance(given, GivenFile):
            return [given]
        files = [file for name, file in given.files() if name.endswith(ENDINGS)]
        if not files:
            message = f"'{self.path}' holds no tar files"
            raise InputError.of("probe.path", message, f"they end with {', '.join(ENDINGS)}")
        return files

    def _shown(self, endings: list[str]) -> str:
        """Return the ending of the files that are shown, of those of the first sample."""
        possible = [each for each in endings if _is_shown(each.rpartition(".")[2])]
        if self.input in possible:
            return self.input
        if self.input is None and len(possible) == 1:
            return possible[0]
        what = (
            "one picture or .npy file"
            if self.input is None
            else f"a file that ends with {self.input}"
        )
        found = f"expected {what} in a sample; those of the first one end with {some(endings)}"
        advice = f"name one of {some(possible)}" if possible else ""
        raise InputError.of("probe.input", found, advice)

    def _decoder(
        self, shard: TarSamples, shown: str, expected: Sequence[InputSpec]
    ) -> PictureDecoder:
        size, is_first = declared_size(expected, self)
        pillow = load_pillow()
        if size is not None:
            return PictureDecoder(pillow, self, size, is_first)
        first = next(shard.samples((shown,)))
        file, place = io.BytesIO(first.files[shown]), first.place(shown)
        with opened_picture(pillow, file, formats_of(pillow, shown), place) as opened:
            height, width, is_gray = shown_size(opened, self.exif_rotation)
        size = height, width, 1 if is_gray else 3
        return PictureDecoder(pillow, self, size, is_first, only_this_size=True)

    def _label(self, sample: TarSample) -> str:
        if self.label_key is None:
            return _text(sample, _CLASS).strip()
        place = sample.place(_ATTRIBUTES)
        try:
            attributes = json.loads(_text(sample, _ATTRIBUTES))
        except (ValueError, RecursionError) as error:
            raise InputError.of(place, "is not JSON") from error
        found = attributes.get(self.label_key) if isinstance(attributes, dict) else None
        if not isinstance(found, str | int) or isinstance(found, bool):
            raise InputError.of(place, f"has no text or integer '{self.label_key}'")
        return str(found)


def _is_shown(ending: str) -> bool:
    known = load_pillow().registered_extensions()
    return ending == _ARRAY or known.get(f".{ending}") in FORMATS


def _blocks(shards: Sequence[TarSamples], wanted: tuple[str, ...]) -> Iterator[list[TarSample]]:
    """Yield the samples of all tar files, some at a time."""
    block: list[TarSample] = []
    left = _BLOCK_BYTES
    for sample in (sample for shard in shards for sample in shard.samples(wanted)):
        for ending in wanted:
            if ending not in sample.files:
                raise InputError.of(sample.place(ending), "there is no such file of this sample")
        block.append(sample)
        left -= sum(map(len, sample.files.values()))
        if len(block) == _BLOCK or left <= 0:
            yield block
            block, left = [], _BLOCK_BYTES
    if block:
        yield block


def _arrays(block: Sequence[TarSample], ending: str, limit: int) -> np.ndarray:
    arrays: list[np.ndarray] = []
    for sample in block:
        data, place = sample.files[ending], sample.place(ending)
        array = read_array(io.BytesIO(data), place, len(data), limit)
        if arrays and array.shape != arrays[0].shape:
            expected = shape_text(arrays[0].shape)
            raise InputError.of(
                place, f"has the shape {shape_text(array.shape)}, others {expected}"
            )
        arrays.append(array)
    return np.stack(arrays)


def _pictures(block: Sequence[TarSample], ending: str, decoder: PictureDecoder) -> np.ndarray:
    formats = formats_of(load_pillow(), ending)
    return decoder.batch(
        [
            decoder.pixels(io.BytesIO(each.files[ending]), each.place(ending), formats)
            for each in block
        ]
    )


def _text(sample: TarSample, ending: str) -> str:
    data = sample.files[ending]
    if len(data) > _TEXT_BYTES:
        raise InputError.of(
            sample.place(ending), f"has {readable(len(data))}, too much for a label"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeError as error:
        raise InputError.of(sample.place(ending), "is not UTF-8") from error
