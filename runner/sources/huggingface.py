"""Probes from datasets of Hugging Face's library, in folders on a disk or in a store."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from runner.config.references import ProbeFolder
from runner.errors import InputError, some, suggest
from runner.given_files import GivenFile
from runner.given_folders import given_folder
from runner.probe.arrow_stream import ArrowStream
from runner.probe.columns import TableColumns
from runner.probe.parquet_table import ParquetTable
from runner.probe.probe import Probe
from runner.probe.stored_tables import JoinedTables, StoredTable, stored_probe
from runner.tensors import InputSpec

_STATE = "state.json"  # beside the files of a dataset, which it names
_LARGEST_STATE = 2**24
_SHARD = re.compile(r"(.*?)(-\d+-of-\d+)?\.parquet")


class DatasetFolder(ProbeFolder):
    """A folder with a dataset."""

    def reads(self, name: str, start: bytes) -> bool:  # noqa: ARG002
        """Return whether a file may be a part of the dataset, by its name."""
        return name.endswith((".arrow", ".parquet", _STATE))


class HuggingfaceConfig(TableColumns):
    """A dataset of Hugging Face: a folder of `save_to_disk`, or of Parquet files.

    One row is one sample; columns as in a `csv` probe.
    """

    order = 55
    examples: ClassVar[dict[str, str]] = {
        "path": "probe=huggingface probe.path=flowers",
        "split": "probe.split=test",
        **TableColumns.examples,
    }

    source: Literal["huggingface"]
    path: DatasetFolder
    """The folder."""
    split: str | None = None
    """Split of the dataset; `null`: the only one."""

    def open(self, _expected: Sequence[InputSpec]) -> Probe:
        """Return the probe of the dataset, read by batches or groups of rows.

        Raises
        ------
        InputError
            If the folder holds no dataset, or several splits and none is named.
        """
        files = dict(given_folder(self.path, "probe.path").files())
        parts: list[StoredTable] = [
            ArrowStream(file) if name.endswith(".arrow") else ParquetTable(file)
            for name, file in self._of_split(files).items()
        ]
        return stored_probe(JoinedTables(parts), self, f"huggingface {self.path}")

    def _of_split(self, files: dict[str, GivenFile]) -> dict[str, GivenFile]:
        """Return the files of the chosen split, in the order of their rows."""
        splits: dict[str, dict[str, GivenFile]] = {}
        for name, file in files.items():
            folder, _, last = name.rpartition("/")
            if last == _STATE:
                below = f"{folder}/" if folder else ""
                splits[folder] = {
                    below + each: self._named(files, below, each) for each in _data_files(file)
                }
        for name, file in {} if splits else files.items():
            if match := _SHARD.fullmatch(name):
                split = match[1].rpartition("/")[2] if match[2] else ""
                splits.setdefault(split, {})[name] = file
        if not splits:
            raise InputError.of(
                "probe.path",
                f"'{self.path}' holds no dataset",
                "give a folder that Dataset.save_to_disk wrote, or one of .parquet files",
            )
        if self.split is None and len(splits) == 1:
            return next(iter(splits.values()))
        if self.split is None:
            message = f"'{self.path}' holds the splits {some(sorted(splits))}"
            raise InputError.of("probe.split", message, "name one of them")
        if self.split not in splits:
            advice = suggest(self.split, splits) or f"there are {some(sorted(splits))}"
            raise InputError.of("probe.split", f"'{self.path}' has no split '{self.split}'", advice)
        return splits[self.split]

    def _named(self, files: dict[str, GivenFile], below: str, name: str) -> GivenFile:
        if below + name not in files:
            message = f"'{self.path}' has no file '{name}', which its {_STATE} names"
            raise InputError.of("probe.path", message)
        return files[below + name]


def _data_files(state: GivenFile) -> list[str]:
    """Return the names of the files of a dataset."""
    wrong = InputError.of("probe.path", f"{state} does not name the files of a dataset")
    if state.size > _LARGEST_STATE:
        raise wrong
    try:
        found: Any = json.loads(state.start(state.size))
        names = [each["filename"] for each in found["_data_files"]]
    except (ValueError, RecursionError, TypeError, KeyError) as error:
        raise wrong from error
    if not names or not all(isinstance(each, str) for each in names):
        raise wrong
    return names
