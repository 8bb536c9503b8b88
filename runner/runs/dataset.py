"""Tensors of several runs as an xarray dataset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from runner.errors import InputError, some
from runner.runs.published_run import Run

if TYPE_CHECKING:
    import xarray


def dataset_of(
    runs: Sequence[Run], names: Iterable[str] | None, keys: Mapping[str, Sequence[Any]]
) -> xarray.Dataset:
    """Return a dataset of tensors with the dimensions run, sample and their own axes.

    Parameters
    ----------
    runs
        Completed runs.
    names
        Names of the tensors; default: all tensors of the first run captured per sample.
    keys
        Additional coordinates along the dimension ``run``.

    Raises
    ------
    InputError
        As in `runner.runs.runs.Runs.to_xarray`.
    """
    try:
        import xarray
    except ModuleNotFoundError as error:
        raise InputError.missing("to_xarray", "needs xarray", "[xarray]") from error
    samples = [run.samples for run in runs]
    for run, own in zip(runs, samples, strict=True):
        if not np.array_equal(own, samples[0]):
            raise InputError.of(
                "to_xarray", f"run {run.id} was shown other samples than {runs[0].id}"
            )
    variables = {}
    for name in names if names is not None else runs[0]:
        arrays = [run.array(name) for run in runs]
        advice = "narrow the runs with where(...), or name other tensors"
        refuse_differing(name, runs, [array.shape[1:] for array in arrays], advice)
        axes = [f"{name}_{axis}" for axis in range(arrays[0].ndim - 1)]
        variables[name] = (["run", "sample", *axes], np.stack(arrays))
    coordinates = {key: ("run", list(values)) for key, values in keys.items()}
    ids = [run.id for run in runs]
    return xarray.Dataset(variables, {"run": ids, "sample": samples[0], **coordinates})


def refuse_differing(
    name: str,
    runs: Iterable[Run],
    units: Iterable[tuple[Any, ...]],
    advice: str = 'narrow them with where(...), or pass align="union" to fill with NaN',
) -> None:
    """Check that a tensor's units or shapes agree in all runs, raise InputError otherwise."""
    groups: dict[tuple[Any, ...], list[str]] = {}
    for run, own in zip(runs, units, strict=True):
        groups.setdefault(own, []).append(run.id)
    if len(groups) > 1:
        found = "; ".join(f"{_extent(own)} in {some(ids)}" for own, ids in groups.items())
        raise InputError.of(name, f"the runs differ in its units ({found})", advice)


def _extent(units: tuple[Any, ...]) -> str:
    """Return the number of units, or the axes of a shape, as text."""
    if all(isinstance(length, int) for length in units):
        return " x ".join(map(str, units))
    return str(len(units))
