"""Every source of a probe, by the configuration that names it."""

from __future__ import annotations

from collections.abc import Sequence

from runner.array_files import npy, npz
from runner.image_files import images
from runner.memory_sources import digits, function, inline, iris, random, tutorial
from runner.probe import Probe
from runner.probe_config import (
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
from runner.table_files import read_csv, read_parquet
from runner.tensors import InputSpec


def open_probe(config: ProbeConfig, expected: Sequence[InputSpec]) -> Probe:
    """Open what a configuration says is to be shown to a model.

    Parameters
    ----------
    config
        Which source, and how to read it.
    expected
        The model's inputs; empty where only calling it can tell.

    Raises
    ------
    InputError
        If it cannot be read, or does not fit the model.
    """
    return _opened(config, expected).fitted(expected, allow_nan=config.allow_nan)


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
            return digits(config, expected)
        case IrisConfig():
            return iris(config)
        case RandomConfig():
            return random(config, expected)
        case FunctionConfig():
            return function(config)
