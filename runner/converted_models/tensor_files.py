"""Reads tensors from files and folders of other programs, and lists all their kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from runner.converted_models.extractions import (
    is_thingsvision,
    is_torchlens,
    read_thingsvision,
    read_torchlens,
)
from runner.converted_models.tensor_formats import (
    IDS,
    PLACE,
    Reader,
    read_hdf5,
    read_npy,
    read_npz,
    read_safetensors,
    read_with,
)
from runner.converted_models.tensor_tables import read_tensor_table
from runner.converted_models.torch_file import read_torch
from runner.converted_models.zarr_folder import is_zarr, read_zarr
from runner.errors import InputError
from runner.regular_files import everything_below, read_at_most, written_file
from runner.sizes import machine_memory

_ID_BYTES = 100_000_000
FILES: dict[str, Reader] = {
    ".npy": read_npy,
    ".npz": read_npz,
    ".safetensors": read_safetensors,
    ".h5": read_hdf5,
    ".hdf5": read_hdf5,
    ".pt": read_torch,
    ".pth": read_torch,
    ".parquet": read_tensor_table,
}
"""How a file is read, by its ending."""
FOLDERS: tuple[tuple[Callable[[Path], bool], Reader], ...] = (
    (is_zarr, read_zarr),
    (is_torchlens, read_torchlens),
    (is_thingsvision, read_thingsvision),
)
"""How a folder is read as a whole: whether it is one of a program, and what reads it."""
_PICKLES = (".pkl", ".pickle", ".joblib", ".dill")


def read_tensors(paths: Sequence[Path]) -> tuple[dict[str, np.ndarray], list[Any] | None]:
    """Return the tensors in files by name, and the ids of their samples.

    A tensor has its name in the file; in a file of one array, that of the file. The files of a
    folder are read too. An array ``sample_ids`` or ``ids`` holds the ids.

    Parameters
    ----------
    paths
        Files whose endings are in `FILES`, and folders: those of `FOLDERS`, or of such files.

    Returns
    -------
    tuple
        The tensors, and the ids or ``None``.

    Raises
    ------
    InputError
        If a file cannot be read, needs a package that is not installed, a name is there twice, or
        two files have other ids.
    """
    tensors: dict[str, np.ndarray] = {}
    ids: list[Any] | None = None
    ids_of: Path | None = None
    left = machine_memory() or 2**62
    for path, name, reader in _sources(paths):
        arrays = read_with(reader, path, name, left)
        found = next((arrays.pop(each) for each in IDS if each in arrays), None)
        if found is not None:
            if found.ndim != 1:
                shape = list(found.shape)
                raise InputError.of(PLACE, f"the sample ids have shape {shape}, expected one axis")
            if ids is not None and ids != found.tolist():
                raise InputError.of(PLACE, f"{path} has other sample ids than {ids_of}")
            ids, ids_of = found.tolist(), path
        for key, array in arrays.items():
            if key in tensors:
                raise InputError.of(PLACE, f"'{key}' is there twice, also in {path}")
            tensors[key] = array
            left -= 0 if isinstance(array, np.memmap) else array.nbytes
    return tensors, ids


def read_ids(path: Path) -> list[str]:
    """Return the sample ids in a text file, one in a line.

    Raises
    ------
    InputError
        If there is no such file, or it is no text.
    """
    try:
        return read_at_most(path, _ID_BYTES, "--ids").decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError.of("--ids", f"{path} is not UTF-8 text") from error


def _sources(paths: Sequence[Path]) -> Iterator[tuple[Path, str, Reader]]:
    """Yield files and folders, each with the name that one array in it gets, and its reader."""
    for path in paths:
        if not path.is_dir():
            yield path, path.stem, _reader(path)
            continue
        if (path / "run.json").is_file():
            raise InputError.of(PLACE, f"'{path}' is a run", "compare it as it is: runner diff")
        if whole := next((read for known, read in FOLDERS if known(path)), None):
            yield path, path.resolve().name.removesuffix(".zarr"), whole
            continue
        files = sorted(each for each in everything_below(path) if each.suffix.lower() in FILES)
        if not files:
            raise InputError.of(PLACE, f"the folder '{path}' has no file of tensors")
        for each in files:
            yield each, each.relative_to(path).with_suffix("").as_posix(), _reader(each)


def _reader(path: Path) -> Reader:
    suffix = path.suffix.lower()
    if suffix in _PICKLES:
        raise InputError.of(
            PLACE,
            f"'{path}' is a pickle, which can run code when it is read",
            "save its arrays with numpy.savez; of TorchLens, a bundle: torchlens.save(log, folder)",
        )
    if suffix not in FILES:
        known = ", ".join(FILES)
        raise InputError.of(PLACE, f"'{path}' is of an unknown kind", f"the kinds are {known}")
    written_file(path, PLACE)
    return FILES[suffix]
