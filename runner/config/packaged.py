"""The configs that come with Runner: files, and objects that are chosen by their names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runner.config.model_config import RUNTIMES
from runner.config.probe_config import SOURCES
from runner.registry import Registry
from runner.table_formats import FORMATS

_HERE = Path(__file__).resolve().parent.parent
CONFIG_DIRECTORY = _HERE / "conf" if (_HERE / "conf").is_dir() else _HERE.parent / "conf"
CONFIG_NAME = "config"
CHOICES: dict[str, Registry[Any]] = {
    "model": RUNTIMES,
    "probe": SOURCES,
    "train/data": SOURCES,
    "format": FORMATS,
}
"""Groups whose configs choose an object by its name, and are not files."""
