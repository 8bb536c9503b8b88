"""Folders that other programs write when they extract activations: TorchLens and THINGSvision."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from runner.converted_models.tensor_formats import (
    PLACE,
    Reader,
    check_declared,
    read_hdf5,
    read_matlab,
    read_npy,
    read_numbers,
    read_safetensors,
)
from runner.converted_models.torch_file import read_torch
from runner.errors import InputError
from runner.regular_files import everything_below, read_at_most, written_file

_MANIFEST, _NAMES = "manifest.json", "file_names.txt"
_BYTES = 100_000_000
_ENDINGS: dict[str, Reader] = {
    ".npy": read_npy,
    ".pt": read_torch,
    ".hdf5": read_hdf5,
    ".mat": read_matlab,
    ".txt": read_numbers,
}
# THINGSvision writes features.npy, or parts: features_0-100.npy, features_01.npy.
_FEATURES = re.compile(r"features(.*?)(?:_(\d+)(?:-(\d+))?)?")
_PICTURE = re.compile(r"\.(eps|jpe?g|png|tiff?)$", re.IGNORECASE)


def is_torchlens(folder: Path) -> bool:
    """Return whether a folder is a bundle that TorchLens saved."""
    return (folder / _MANIFEST).is_file() and (
        (folder / "blobs").is_dir() or (folder / "metadata.pkl").is_file()
    )


def is_thingsvision(folder: Path) -> bool:
    """Return whether a folder holds features that THINGSvision saved, and no other tensors."""
    features = {path for path, _, _ in _feature_files(folder)}
    others = {
        path
        for path in everything_below(folder)
        if path.suffix in _ENDINGS and path.suffix != ".txt" and path.is_file()
    }
    is_listed = (folder / _NAMES).is_file()
    below = features and all(path.parent != folder for path in features)
    return bool(features and others <= features and (is_listed or below))


def read_torchlens(folder: Path, _: str, limit: int) -> dict[str, np.ndarray]:
    """Return the outputs of a bundle of TorchLens by their labels, without its pickle.

    Buffers of the model, which have no axis of samples, are left out.

    Parameters
    ----------
    folder
        The bundle: ``manifest.json`` and files of safetensors, which it lists.
    limit
        Largest size of all outputs together, in bytes.

    Raises
    ------
    InputError
        If it lists no outputs, or files outside the folder.
    """
    listed = _listed(folder)
    if not listed:
        raise InputError.of(PLACE, f"'{folder}' is a bundle of TorchLens without saved outputs")
    paths = [_inside(folder, relative) for _, relative in listed]
    declared = sum(path.stat().st_size for path in paths)  # a file may be listed many times
    held = sum(path.stat().st_size for path in {*paths})
    check_declared(str(folder), declared, held, limit)
    later = {label.rpartition(":")[0] for label, _ in listed if not label.endswith(":1")}
    found: dict[str, np.ndarray] = {}
    for (label, _), path in zip(listed, paths, strict=True):
        layer, _, number = label.rpartition(":")
        name = layer if number == "1" and layer not in later else label
        arrays = [*read_safetensors(path, label, limit).values()]
        if len(arrays) != 1:
            raise InputError.of(PLACE, f"{path} has {len(arrays):,} tensors, expected one")
        found[name] = arrays[0]
        limit -= arrays[0].nbytes
    return found


def _listed(folder: Path) -> list[tuple[str, str]]:
    """Return the label and the file of each output in a bundle of TorchLens."""
    try:
        manifest = json.loads(read_at_most(folder / _MANIFEST, _BYTES, PLACE))
    except ValueError as error:
        raise InputError.of(PLACE, f"{folder / _MANIFEST} is not JSON") from error
    tensors = manifest.get("tensors", []) if isinstance(manifest, dict) else None
    keys = ("label", "relative_path", "kind")
    if not isinstance(tensors, list) or not all(
        isinstance(each, dict) and all(isinstance(each.get(key), str) for key in keys)
        for each in tensors
    ):
        raise InputError.of(
            PLACE,
            f"{folder / _MANIFEST} is not as TorchLens writes it: expected a list 'tensors' of "
            f"mappings, each with {', '.join(keys[:-1])} and {keys[-1]}",
        )
    return [
        (each["label"], each["relative_path"])
        for each in tensors
        if each["kind"] == "out" and not each["label"].startswith("buffer_")
    ]


def read_thingsvision(folder: Path, name: str, limit: int) -> dict[str, np.ndarray]:
    """Return the features of each module, which has the name of the folder that holds them.

    Parts of a module's features are joined in their order. The ids of the samples are the names of
    the pictures in ``file_names.txt``, if there is one.

    Parameters
    ----------
    folder
        The folder that ``extract_features`` or ``save_features`` wrote.
    name
        Name of features that lie in the folder itself.
    limit
        Largest size of all features together, in bytes.

    Raises
    ------
    InputError
        If a file cannot be read, or the pictures in a ``.mat`` file are others than those listed.
    """
    ids = _picture_names(folder)
    parts: dict[str, list[tuple[tuple[int, int], np.ndarray]]] = {}
    for path, suffix, place in _feature_files(folder):
        written_file(path, PLACE)
        above = path.parent.relative_to(folder).as_posix()
        key = (name if above == "." else above) + suffix
        arrays = _ENDINGS[path.suffix](path, "features", limit)
        values, listed = _joined(path, arrays, ids)
        ids = ids or listed
        check_declared(str(path), values.nbytes, values.nbytes, limit)
        limit -= values.nbytes
        parts.setdefault(key, []).append((place, values))
    found = {}
    for key, group in parts.items():
        whole = [values for _, values in sorted(group, key=lambda each: each[0])]
        found[key] = whole[0] if len(whole) == 1 else np.concatenate(whole)
    return found if ids is None else {**found, "ids": np.array(ids, dtype=object)}


def _feature_files(folder: Path) -> Iterator[tuple[Path, str, tuple[int, int]]]:
    """Yield files of features, each with the suffix of its name and its place among parts."""
    for path in sorted(everything_below(folder)):
        matched = _FEATURES.fullmatch(path.stem)
        if matched and path.suffix in _ENDINGS:
            suffix, first, last = matched.groups()
            yield path, suffix, (int(last or first or 0), int(first or 0))


def _picture_names(folder: Path) -> list[str] | None:
    path = folder / _NAMES
    if not path.is_file():
        return None
    return read_at_most(path, _BYTES, PLACE).decode("utf-8").splitlines()


def _joined(path: Path, arrays: Any, ids: list[str] | None) -> tuple[np.ndarray, list[str] | None]:
    """Return the features in a file as one array, and the names of its pictures if it has them."""
    if path.suffix == ".mat" and [*arrays] != ["features"]:
        # A variable for each picture, whose name has no ending; a vector has become a row.
        rows = [each[0] if each.ndim == 2 and len(each) == 1 else each for each in arrays.values()]
        listed = [*arrays]
        plain = None if ids is None else [_PICTURE.sub("", each) for each in ids]
        if plain is not None and plain != listed:
            raise InputError.of(PLACE, f"{path} has other pictures than {_NAMES}")
        return np.stack(rows), listed
    pieces = [arrays[key] for key in sorted(arrays)]
    return (pieces[0] if len(pieces) == 1 else np.concatenate(pieces)), None


def _inside(folder: Path, relative: str) -> Path:
    """Return the path of a file that a manifest lists, which has to be in the same folder."""
    parts = PurePosixPath(relative).parts
    path = folder.joinpath(*parts)
    if not parts or ".." in parts or "/" in parts or "\\" in relative:
        raise InputError.of(PLACE, f"'{folder}' lists '{relative}', which is outside of it")
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError.of(PLACE, f"'{folder}' lists '{relative}', which is outside of it")
    return written_file(path, PLACE)
