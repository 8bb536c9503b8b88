"""Runs Keras models declared in YAML and saves the outputs of every layer as tables."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runner.api import adopt_run, run, save_run
    from runner.errors import InputError, RunError, RunnerError
    from runner.plots.files import save_figure
    from runner.runs.locate import open_run, open_runs
    from runner.runs.published_run import Run
    from runner.runs.runs import Runs
    from runner.sameness.difference import assert_same, diff
    from runner.showing.activations import Activation, capture_activations
    from runner.training.recorder import ActivationRecorder

__all__ = [
    "Activation",
    "ActivationRecorder",
    "InputError",
    "Run",
    "RunError",
    "RunnerError",
    "Runs",
    "adopt_run",
    "assert_same",
    "capture_activations",
    "diff",
    "open_run",
    "open_runs",
    "run",
    "save_figure",
    "save_run",
]

_MODULES = {
    "Activation": "showing.activations",
    "capture_activations": "showing.activations",
    "adopt_run": "api",
    "run": "api",
    "save_run": "api",
    "InputError": "errors",
    "RunError": "errors",
    "RunnerError": "errors",
    "open_run": "runs.locate",
    "open_runs": "runs.locate",
    "Run": "runs.published_run",
    "save_figure": "plots.files",
    "assert_same": "sameness.difference",
    "diff": "sameness.difference",
    "Runs": "runs.runs",
    "ActivationRecorder": "training.recorder",
}


# Names whose modules import Keras, on its configured backend.
_OF_KERAS = ("Activation", "ActivationRecorder", "capture_activations")


def __getattr__(name: str) -> Any:
    """Import a name when it is first used, so that ``import runner`` is fast."""
    if name not in _MODULES:
        raise AttributeError(f"module 'runner' has no attribute '{name}'")
    if name in _OF_KERAS:
        importlib.import_module("runner.model.backend").check_backend()
    return getattr(importlib.import_module(f"runner.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
