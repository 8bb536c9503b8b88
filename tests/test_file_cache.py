"""Files that were fetched are kept by their hashes, within a limit, and checked when opened."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.errors import InputError
from runner.stores.digests import FileDigest
from runner.stores.file_cache import FileCache


def digest_of(data: bytes) -> FileDigest:
    return FileDigest(len(data), hashlib.sha256(data).hexdigest())


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RUNNER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def content(data: bytes, fetched: list[bytes] | None = None) -> bytes | None:
    """Open a file, which is fetched from `fetched` or is the data itself."""

    def fetch() -> Iterator[bytes]:
        yield from [data] if fetched is None else fetched

    file = FileCache().open(digest_of(data), fetch)
    if file is None:
        return None
    with file:
        return file.read()


def test_a_file_is_fetched_once_and_again_if_its_copy_is_damaged(folder: Path) -> None:
    assert content(b"abc") == b"abc"
    assert content(b"abc", [b"never asked for"]) == b"abc"
    [path] = folder.glob("*/*")
    path.write_bytes(b"abd")
    assert content(b"abc", [b"a", b"bc"]) == b"abc"
    path.write_bytes(b"abd")
    assert content(b"abc", [b"wrong"]) is None
    assert not [*folder.glob("*/*")]


def test_what_was_used_longest_ago_goes_first(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, data in enumerate((b"a" * 40, b"b" * 40)):
        content(data)
        os.utime(folder / digest_of(data).sha256[:2] / digest_of(data).sha256, (number, number))
    content(b"a" * 40)  # used again
    monkeypatch.setenv("RUNNER_MAX_CACHE", "100")
    content(b"c" * 40)
    kept = {path.read_bytes()[:1] for path in folder.glob("*/*")}
    assert kept == {b"a", b"c"}
    content(b"d" * 400)  # kept while it is used, though it does not fit
    assert [path.stat().st_size for path in folder.glob("*/*")] == [400]


def test_a_cache_that_cannot_be_written_is_told_in_a_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write_bytes(b"")
    with pytest.raises(InputError, match="files of a store cannot be kept here: Not a directory"):
        content(b"abc")
    monkeypatch.setenv("RUNNER_MAX_CACHE", "much")
    with pytest.raises(InputError, match="RUNNER_MAX_CACHE: expected a number of bytes"):
        content(b"abc")


def test_an_interrupted_fetch_leaves_nothing(folder: Path) -> None:
    def cut() -> Iterator[bytes]:
        yield b"a"
        raise ConnectionError(104, "cut")

    with pytest.raises(ConnectionError):
        FileCache().open(digest_of(b"abc"), cut)
    assert not [*folder.glob("*/*")]
