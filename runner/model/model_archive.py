"""Checks the content of a file of a model or of weights before Keras reads it.

Keras allocates the sizes declared in a file's configuration and in its arrays; the declared
sizes are first compared with the size of the file.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from typing import IO, Any

import h5py
import numpy as np

from runner.errors import InputError, first_line
from runner.model.hdf5_chunks import why_not_listed, why_not_unpacked
from runner.model.hdf5_texts import HeldTexts, UncheckedError, has_endless_heap
from runner.model.named_objects import check_objects, check_parts
from runner.readable_files import content_of
from runner.regular_files import read_at_most, what_it_is, written_file
from runner.sizes import readable
from runner.zip_damage import DAMAGED

# Limit of a file's unpacked size: weights can hardly be compressed.
_UNPACKED_TIMES = 20
_UNPACKED_BYTES = 100_000_000
# Limit for configurations, which take many times their size in Python.
_JSON_BYTES = 32_000_000
_H5_SUFFIXES = (".h5", ".hdf5")
# Others may take gigabytes to unpack a few bytes (LZMA).
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 1


def allowance(path: Path) -> int:
    """Return the maximum number of bytes of weights for a file of this size."""
    return max(_UNPACKED_TIMES * path.stat().st_size, _UNPACKED_BYTES)


def model_file(given: str, place: str) -> Path:
    """Return the path of a model's file after checking that Keras can read it safely.

    Raises
    ------
    InputError
        If it is another kind of file, is damaged, or declares far more than its size; says
        what it is and what to do.
    """
    path = written_file(given, place)
    kind = what_it_is(path)
    if kind == "it is a zip file":
        members = _check_archive(path, place)
        if "config.json" not in members:
            raise InputError.of(place, f"{path} is a zip file without a Keras model in it")
        if path.suffix != ".keras":
            raise InputError.of(
                place, f"{path} is a .keras file by its content", "rename it to end in .keras"
            )
    elif kind == "it is an HDF5 file":
        if path.suffix not in _H5_SUFFIXES:
            raise InputError.of(
                place, f"{path} is an HDF5 file by its content", "rename it to end in .h5"
            )
        with path.open("rb") as source, _checked(source, path, place) as file:
            _check_lists(file, path, place)
            check_objects(_text(file.attrs.get("model_config", "")), path, place)
            if "model_config" not in file.attrs:
                raise InputError.of(
                    place,
                    f"{path} holds weights without a model",
                    "declare the model, and name this file in model.weights",
                )
    else:
        raise InputError.of(
            place,
            f"{path} is not a Keras model: {kind}",
            "save the model in Keras: model.save('model.keras')",
        )
    return path


def weights_file(given: str, place: str) -> Path:
    """Return the path of a file of weights after checking that Keras can read it safely.

    Raises
    ------
    InputError
        As in `model_file`.
    """
    path = written_file(given, place)
    kind = what_it_is(path)
    if kind == "it is a zip file":
        _check_archive(path, place)
    elif kind == "it is an HDF5 file":
        with path.open("rb") as source, _checked(source, path, place) as file:
            _check_lists(file, path, place)
    elif path.suffix == ".json":
        for name in _shards(path, place):
            with (path.parent / name).open("rb") as source, _checked(source, path, place):
                pass
    else:
        raise InputError.of(
            place,
            f"{path} cannot be loaded: {kind}",
            "save them in Keras: model.save_weights('model.weights.h5')",
        )
    return path


def _check_archive(path: Path, place: str) -> list[str]:
    """Return the members of an archive; none may be outside it or far larger than the file."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            for member in members:
                if member.flag_bits & _ENCRYPTED or member.compress_type not in _COMPRESSIONS:
                    raise InputError.of(
                        place,
                        f"{path}: {member.filename!r} is not compressed as in models of Keras",
                        "save the model in Keras",
                    )
                name = PureWindowsPath(member.filename)
                if name.anchor or ".." in name.parts:
                    raise InputError.of(
                        place, f"{path} holds {member.filename!r}, outside the archive"
                    )
            size, unpacked = path.stat().st_size, sum(member.file_size for member in members)
            if unpacked > allowance(path):
                raise InputError.of(
                    place, f"{path} has {readable(size)}, and unpacks to {readable(unpacked)}"
                )
            for member in members:
                if member.filename.endswith(".json") and member.file_size > _JSON_BYTES:
                    raise InputError.of(
                        place,
                        f"{path}: {member.filename} has {readable(member.file_size)}, the limit "
                        f"is {readable(_JSON_BYTES)}",
                    )
                if member.filename.endswith(".json"):
                    check_parts(archive.read(member), path, place)
                if member.filename == "config.json":
                    check_objects(archive.read(member), path, place)
                if member.filename.endswith(".npz"):
                    raise InputError.of(
                        place, f"{path}: weights as .npz are not read", "save the model in Keras"
                    )
                if member.filename.endswith(_H5_SUFFIXES):
                    with tempfile.TemporaryFile() as source:  # HDF5 reads it in any order
                        shutil.copyfileobj(archive.open(member), source)
                        with _checked(source, path, place):
                            pass
    except InputError:
        raise
    except DAMAGED as error:
        raise InputError.of(
            place,
            f"{path} is damaged: it begins as a zip file, and its end is missing, or a part "
            "of it is changed",
            "copy or save it again",
        ) from error
    return [member.filename for member in members]


def _text(attribute: Any) -> bytes | str:
    return attribute if isinstance(attribute, bytes) else str(attribute)


@contextlib.contextmanager
def _checked(source: IO[bytes], path: Path, place: str) -> Iterator[h5py.File]:
    """Open an HDF5 file, check its texts and arrays, and tell what is damaged."""
    try:
        with h5py.File(source, "r") as file:
            _check_texts(file, source, path, place)
            _check_arrays(file, path, place)
            yield file
    except InputError:
        raise
    except Exception as error:  # HDF5's errors for damaged files have no common class
        message = f"{path} cannot be loaded: its weights are damaged ({first_line(error)})"
        raise InputError.of(place, message, "copy or save it again") from error


def _check_texts(file: h5py.File, source: IO[bytes], path: Path, place: str) -> None:
    """Check that the texts in attributes are not longer together than the file."""
    if has_endless_heap(content_of(source)):
        raise InputError.of(place, f"{path} is damaged: its texts have no end")
    if file.userblock_size or file.id.get_create_plist().get_sizes() != (8, 8):
        raise _other_form(path, place)
    texts, held, limit = HeldTexts(source), 0, source.seek(0, os.SEEK_END)
    for _, found in _objects(file):
        if isinstance(found, h5py.HLObject):
            try:
                held += texts.count(h5py.h5o.get_info(found.id).addr)
            except UncheckedError as error:
                raise _other_form(path, place) from error
        if held > limit:
            raise InputError.of(place, f"{path} declares more texts than it holds")


def _other_form(path: Path, place: str) -> InputError:
    message = f"{path}: its attributes are not stored as Keras stores them"
    return InputError.of(place, message, "save it again in Keras")


def _check_arrays(file: h5py.File, path: Path, place: str) -> None:
    """Check that arrays are not in other files and do not declare far more than the file size."""
    claimed, arrays = 0, {}
    for name, found in _objects(file):
        if isinstance(found, (h5py.ExternalLink, h5py.SoftLink)):
            raise InputError.of(place, f"{path}: '{name}' is a link, which is not allowed")
        if isinstance(found, h5py.Dataset):
            if found.external or found.is_virtual:
                raise InputError.of(place, f"{path}: '{name}' is stored in another file")
            is_plain = found.dtype.kind != "V" or "dtype" in found.attrs  # which bfloat16 has
            if found.dtype.hasobject or not is_plain:
                what = "texts or lists" if found.dtype.hasobject else "bytes"
                what = "records" if found.dtype.names else what
                raise InputError.of(
                    place, f"{path} cannot be loaded: '{name}' holds {what}, not numbers"
                )
            # HDF5 unpacks whole chunks, which may be larger than the array.
            values = max(found.size or 0, math.prod(found.chunks or (0,)))
            claimed += values * found.dtype.itemsize
            arrays[name] = found
    if claimed > allowance(path):
        size = path.stat().st_size
        raise InputError.of(
            place, f"{path} has {readable(size)}, but its arrays declare {readable(claimed)}"
        )
    if why := why_not_listed(arrays.values(), path.stat().st_size):
        raise InputError.of(place, f"{path} {why}", "save it again in Keras")
    for name, found in arrays.items():
        if why := why_not_unpacked(found):
            raise InputError.of(place, f"{path}: '{name}' {why}", "save it again in Keras")


def _check_lists(file: h5py.File, path: Path, place: str) -> None:
    """Check the lists of layers and of weights in a file of Keras 2."""
    group = file.get("model_weights", file)
    for name in _listed(group, "layer_names", h5py.Group, path, place):
        _listed(group[name], "weight_names", h5py.Dataset, path, place)


def _listed(group: h5py.Group, attribute: str, kind: type, path: Path, place: str) -> list[str]:
    """Return the names in an attribute of a group; each must be of another thing in it."""
    found = np.asarray(group.attrs.get(attribute, np.empty(0)))
    names = [name.decode() if isinstance(name, bytes) else name for name in found.ravel().tolist()]
    held = [group.get(name) if isinstance(name, str) else None for name in names]
    once = len(set(held)) == len(held)
    if found.ndim != 1 or not once or not all(isinstance(each, kind) for each in held):
        raise InputError.of(
            place,
            f"{path} is damaged: its {attribute} do not list what it holds",
            "save it again in Keras",
        )
    return names


def _objects(file: h5py.File) -> Iterator[tuple[str, Any]]:
    """Yield every group, array and link of a file, each once."""
    waiting, seen = [("", file["/"])], set()
    yield "/", file["/"]
    while waiting:
        above, group = waiting.pop()
        for name in group:
            path = f"{above}/{name}".removeprefix("/")
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                yield path, link
                continue
            found = group[name]
            address = h5py.h5o.get_info(found.id).addr
            if address in seen:
                continue
            seen.add(address)
            yield path, found
            if isinstance(found, h5py.Group):
                waiting.append((path, found))


def _shards(path: Path, place: str) -> list[str]:
    """Return the files named in an index of weights, all in the same folder."""
    try:
        text = read_at_most(path, _JSON_BYTES, place)
        check_parts(text, path, place)
        described = json.loads(text)
        values = described["weight_map"].values()
        names = {
            name for value in values for name in ([value] if isinstance(value, str) else value)
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError.of(place, f"{path} is not an index of weights written by Keras") from error
    for name in names:
        if not isinstance(name, str) or PureWindowsPath(name).name != name:
            raise InputError.of(place, f"{path} names {name!r}, outside its folder")
        written_file(path.parent / name, place)
    return sorted(names)
