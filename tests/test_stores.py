"""A run is written to, listed in, read from and verified in any store."""

from __future__ import annotations

import errno
import gzip
import io
from collections.abc import Iterator
from mmap import mmap
from pathlib import Path
from typing import BinaryIO

import keras
import numpy as np
import pytest

import runner
from runner.errors import DamagedError, InputError, RunError
from runner.file_names import RECORD
from runner.readable_files import content_of
from runner.record.publication import Publication
from runner.runs.published_run import Run
from runner.runs.runs import Runs
from runner.sameness.verification import damage
from runner.screen.show import show
from runner.stores.local import LocalStore
from runner.stores.store import Draft, Store, StoredRun
from runner.table_formats import own_stored

X = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")


class Memory(Store):
    """Runs in a dictionary, and the names of the files that were opened."""

    def __init__(self) -> None:
        self.published: dict[str, dict[str, bytes]] = {}
        self.opened: list[str] = []

    def place(self) -> str:
        return "memory"

    def draft(self, name: str) -> MemoryDraft:
        return MemoryDraft(self, name)

    def runs(self) -> Iterator[MemoryRun]:
        for name in sorted(self.published):
            yield MemoryRun(self, name)


class _Content(io.BytesIO):
    """A file whose content stays when it is closed."""

    content = b""

    def close(self) -> None:
        if not self.closed:
            self.content = self.getvalue()
        super().close()


class MemoryDraft(Draft):
    def __init__(self, store: Memory, run: str) -> None:
        self._store = store
        self._run = run
        self.files: dict[str, _Content] = {}

    def place(self, name: str = "") -> str:
        return MemoryRun(self._store, self._run).place(name)

    def check(self) -> None:
        if self._run in self._store.published:
            raise InputError.of(self.place(), "there is a run already")

    def open(self, name: str) -> BinaryIO:
        if name in self.files:
            raise FileExistsError(errno.EEXIST, "File exists")
        self.files[name] = _Content()
        return self.files[name]

    def remove(self, name: str) -> None:
        del self.files[name]

    def commit(self, record: bytes) -> MemoryRun:
        files = {name: file.content for name, file in self.files.items()} | {RECORD: record}
        if self._store.published.setdefault(self._run, files) is not files:
            raise RunError(f"{self.place()}: another run was published here first")
        return MemoryRun(self._store, self._run)

    def abandon(self) -> None:
        self.files.clear()


class MemoryRun(StoredRun):
    def __init__(self, store: Memory, run: str) -> None:
        self._store = store
        self._run = run

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MemoryRun) and vars(other) == vars(self)

    def __hash__(self) -> int:
        return hash(self._run)

    def place(self, name: str = "") -> str:
        return "/".join(part for part in ("memory", self._run, name) if part)

    def open(self, name: str) -> BinaryIO:
        self._store.opened.append(name)
        try:
            return io.BytesIO(self._store.published[self._run][name])
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, "No such file") from None

    def names(self) -> Iterator[str]:
        yield from self._store.published[self._run]


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(4, "relu", name="hidden"), keras.layers.Dense(2, name="out")]
    return keras.Sequential([keras.Input((3,)), *layers])


@pytest.mark.parametrize("table_format", own_stored())
def test_a_run_in_another_store_is_the_same_run(
    memory: Memory, model: keras.Model, table_format: str, tmp_path: Path
) -> None:
    known = {"name": "mine", "labels": [*"abcde"], "format": table_format}
    far = runner.save_run(model, X, memory.draft("far"), **known)
    near = runner.save_run(model, X, tmp_path / "near", **known)
    assert repr(far) == f"<Run {far.id} COMPLETED 'memory/far'>"
    assert set(memory.opened) == {RECORD}  # nothing else is read before it is asked for
    assert [*memory.published["far"]][-1] == RECORD
    assert set(memory.published["far"]) == {*near.record.digests, RECORD}
    assert list(far.names) == list(near.names)
    for name in ("hidden", "out"):
        np.testing.assert_array_equal(far.array(name), near.array(name))
        np.testing.assert_array_equal(np.concatenate([*far.blocks(name)]), near.array(name))
    # To compare it with its hash, to check it and to read it, a file is opened once.
    assert memory.opened.count(far.tensor("out").file) == 2
    np.testing.assert_array_equal(far.weights("hidden/kernel"), near.weights("hidden/kernel"))
    assert far.probe.equals(near.probe)
    assert far.summary.equals(near.summary)
    assert not list(damage(far))
    assert "memory/far" in show(far)


def test_runs_of_another_store_are_found_by_name_id_and_time(
    memory: Memory, model: keras.Model
) -> None:
    for name in ("b", "a"):
        runner.save_run(model, X, memory.draft(name), name=name, config={"seed": ord(name)})
    assert runner.open_run("last", memory).record.name == "a"
    assert runner.open_run("last~1", memory).record.name == "b"
    one = runner.open_run("b", memory)
    assert runner.open_run(one.id, memory).id == one.id
    assert runner.open_run(one.stored).id == one.id
    with pytest.raises(InputError, match="nobody: no folder of a run, and no id or name in mem"):
        runner.open_run("nobody", memory)
    with pytest.raises(InputError, match="there is no run in empty"):
        runner.open_run("last", LocalStore("empty"))
    runs = runner.open_runs(memory)
    assert [run.record.name for run in runs] == ["b", "a"]
    assert runner.open_runs([memory, memory]).frame.equals(runs.frame)
    assert runs.table("hidden").shape == (10, 4)
    assert runs.sql("from hidden").shape == (10, 6)
    assert runner.diff(runs[0], runs[1]).same


def test_a_damaged_file_in_another_store_is_found(memory: Memory, model: keras.Model) -> None:
    runner.save_run(model, X, memory.draft("run"))
    files = memory.published["run"]
    files["own.txt"] = b""
    files["activations/00_hidden.parquet"] = files["activations/00_hidden.parquet"][:-1] + b"?"
    del files["summary.parquet"]
    run = runner.open_run("last", memory)
    missing, damaged, other = damage(run)
    assert damaged.startswith("activations/00_hidden.parquet: damaged: expected ")
    assert missing == "summary.parquet: is missing"
    assert other == "own.txt: is not a file of the run"
    with pytest.raises(DamagedError, match=r"^memory/run/activations/00_hidden\.parquet: damaged"):
        run.array("hidden")
    files[RECORD] = b"{}"
    with pytest.raises(DamagedError, match=r"^memory/run/run\.json: not a run record"):
        runner.open_runs(memory)
    del files[RECORD]
    with pytest.raises(DamagedError, match=r"^memory/run/run\.json: no run is there"):
        Run.read(run.stored)


def test_a_run_that_fails_does_not_appear_in_another_store(
    memory: Memory, model: keras.Model
) -> None:
    draft = memory.draft("run")
    bad = X.copy()
    bad[0, 0] = np.nan
    with pytest.raises(RunError, match="NaN"):
        runner.save_run(model, bad, draft, on_nan="fail")
    assert not memory.published
    assert not draft.files


def test_of_two_drafts_of_one_place_one_is_published(memory: Memory) -> None:
    with Publication(memory.draft("run")) as first, Publication(memory.draft("run")) as second:
        first.write("a", b"1")
        second.write("a", b"2")
        with pytest.raises(RunError, match="a: File exists; the run was not published"):
            second.open("a")
        first.publish(b"{}")
        with pytest.raises(RunError, match="memory/run: another run was published here first"):
            second.publish(b"{}")
    assert memory.published == {"run": {"a": b"1", RECORD: b"{}"}}
    with pytest.raises(InputError, match="memory/run: there is a run already"):
        Publication(memory.draft("run")).__enter__()


def test_a_training_is_recorded_in_another_store(memory: Memory) -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="out")])
    model.compile("sgd", "mse")
    recorder = runner.ActivationRecorder(X, memory.draft("run"))
    model.fit(X, X[:, :2], epochs=2, verbose=0, callbacks=[recorder])
    run = runner.open_run("last", memory)
    assert run.table("out", step="all").shape == (15, 2)
    assert not list(damage(run))
    with pytest.raises(InputError, match="memory/run: there is a run already"):
        runner.ActivationRecorder(X, memory.draft("run"))


def test_what_needs_a_folder_is_refused_by_a_store_without_one(
    memory: Memory, model: keras.Model
) -> None:
    with pytest.raises(InputError, match=r"memory/a/summary\.parquet: its store reads published"):
        runner.save_run(model, X, memory.draft("a"), format="xlsx")
    assert not memory.published
    run = runner.save_run(model, X, memory.draft("b"))
    with pytest.raises(InputError, match="memory/b: is not in a folder of this machine"):
        _ = run.path


def test_only_the_content_of_a_file_on_the_disk_is_mapped(tmp_path: Path) -> None:
    path, data = tmp_path / "file", b"content" * 1000
    path.write_bytes(data)
    with gzip.open(tmp_path / "packed", "wb") as sink:
        sink.write(data)
    with path.open("rb") as plain, gzip.open(tmp_path / "packed") as packed:
        found = [content_of(file) for file in (plain, packed, io.BytesIO(data))]
    assert [bytes(content) for content in found] == [data] * 3
    assert [type(content) for content in found] == [mmap, bytes, bytes]


def test_a_store_that_is_a_folder_is_that_folder(tmp_path: Path, model: keras.Model) -> None:
    store = LocalStore(tmp_path)
    run = runner.save_run(model, X, store.draft("day/run"))
    assert run.path == tmp_path / "day/run"
    assert [one.place() for one in store.runs()] == [str(run.path)]
    assert isinstance(runner.open_runs(store), Runs)
