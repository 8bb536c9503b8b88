"""Opening a probe from its configuration."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from runner.config.probe_config import (
    CsvConfig,
    DigitsConfig,
    FunctionConfig,
    ImagesConfig,
    InlineConfig,
    IrisConfig,
    NpyConfig,
    NpzConfig,
    ParquetConfig,
    ProbeConfig,
    RandomConfig,
    TutorialConfig,
)
from runner.config.references import look_in_working_directory
from runner.errors import InputError
from runner.probe.array_files import npy, npz
from runner.probe.csv_files import read_csv
from runner.probe.image_files import images
from runner.probe.memory_sources import array_probe, as_probe, inline, tutorial
from runner.probe.parquet_files import read_parquet
from runner.probe.probe import Probe
from runner.probe.random_inputs import random
from runner.tensors import InputSpec


def open_probe(
    config: ProbeConfig,
    expected: Sequence[InputSpec],
    limits: Mapping[str, tuple[str, int]] | None = None,
) -> Probe:
    """Return the probe of a configuration, fitted to a model.

    Parameters
    ----------
    config
        Configuration of the probe.
    expected
        Inputs of the model; empty if unknown before it is called.
    limits
        As in `runner.probe.probe.Probe.fitted`.

    Raises
    ------
    InputError
        If the probe cannot be read, or does not fit the model.
    """
    return _opened(config, expected).fitted(expected, allow_nan=config.allow_nan, limits=limits)


def _opened(config: ProbeConfig, expected: Sequence[InputSpec]) -> Probe:
    match config:
        case TutorialConfig():
            return tutorial()
        case InlineConfig():
            return inline(config)
        case CsvConfig():
            return read_csv(config)
        case ParquetConfig():
            return read_parquet(config)
        case NpyConfig():
            return npy(config)
        case NpzConfig():
            return npz(config)
        case ImagesConfig():
            return images(config, expected)
        case DigitsConfig():
            return _digits(config, expected)
        case IrisConfig():
            return _iris(config)
        case RandomConfig():
            return random(config, expected)
        case FunctionConfig():
            return _function(config)


def _digits(config: DigitsConfig, expected: Sequence[InputSpec]) -> Probe:
    """Return scikit-learn's handwritten digits, scaled to 0 to 1, in the model's input shape."""
    data = _scikit_learn("load_digits")
    shape = expected[0].shape if expected else (64,)
    pixels = (data.images / 16).astype("float32")
    if len(shape) <= 1:
        pixels = pixels.reshape(len(pixels), 64)
    elif len(shape) == 3:
        pixels = pixels[..., None]
    rows = _first(config.rows, len(pixels), "digits")
    probe = array_probe(
        "digits (scikit-learn)", pixels[rows], None, data.target[rows], data.target[rows]
    )
    return replace(probe, picture=(8, 8)) if pixels.ndim == 2 else probe


def _iris(config: IrisConfig) -> Probe:
    """Return scikit-learn's iris data: lengths and widths of sepals and petals in centimetres."""
    data = _scikit_learn("load_iris")
    rows = _first(config.rows, len(data.data), "iris")
    labels = data.target_names[data.target].astype(object)
    return array_probe(
        "iris (scikit-learn)",
        data.data[rows].astype("float32"),
        None,
        labels[rows],
        data.target[rows],
    )


def _function(config: FunctionConfig) -> Probe:
    """Return the probe that a Python function named by the configuration returns.

    A pair is taken as inputs and targets; everything else is passed to `as_probe`. A function
    that returns a generator is called again each time the probe is read.
    """
    module_name, _, name = config.function.partition(":")
    look_in_working_directory()
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise InputError.of(
            "probe.function",
            f"no module '{error.name}' (looked in {Path.cwd()} and in the installed packages)",
        ) from error
    function = getattr(module, name, None)
    if not callable(function):
        raise InputError.of("probe.function", f"module '{module_name}' has no function '{name}'")
    make = partial(function, **config.arguments)
    made = make()
    if isinstance(made, Iterator):
        return as_probe(make, source=config.function)
    if isinstance(made, tuple) and len(made) == 2:
        return as_probe(made[0], targets=made[1], source=config.function)
    return as_probe(made, source=config.function)


def _first(rows: int | None, known: int, source: str) -> slice:
    if rows is not None and rows > known:
        raise InputError.of("probe.rows", f"{source} has {known:,} samples, found {rows:,}")
    return slice(rows)


def _scikit_learn(name: str) -> Any:
    try:
        return getattr(importlib.import_module("sklearn.datasets"), name)()
    except ModuleNotFoundError as error:
        raise InputError.of(
            "probe",
            "needs scikit-learn",
            'type: pip install "activation-runner[data]"',
        ) from error
