"""Repetition of a run from its record."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from runner.config.composition import Composition, composition_of
from runner.errors import InputError, Problem
from runner.experiment.experiment import run_experiment
from runner.runs.published_run import Run

_VARIABLE = re.compile(r"\$\{oc\.env:([^,}]+)(,[^}]*)?\}")


def code_of(run: Run) -> list[str]:
    """Return the Python code that a run's configuration names: ``model.function: nets:build``.

    Building the model again imports and runs this code.
    """
    return list(_code(run.config))


def _code(config: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Yield every key that names code, at any depth of the configuration."""
    for key, value in config.items():
        place = f"{above}{key}"
        if key in ("function", "custom_modules") and value:
            yield f"{place}: {value}"
        elif isinstance(value, Mapping):
            yield from _code(value, f"{place}.")
        elif isinstance(value, list):
            yield from _code({str(at): item for at, item in enumerate(value)}, f"{place}.")


def repeated(run: Run, folder: Path, *, trust_code: bool = False) -> Run:
    """Repeat a run: build its model, show it the probe and publish the result.

    Parameters
    ----------
    run
        A run made from a configuration.
    folder
        Folder of the repetition, nonexistent or empty.
    trust_code
        Whether to run the Python code that the configuration names.

    Raises
    ------
    InputError
        If the run was not made from a configuration, something that its configuration
        names no longer exists, or the configuration names code that is not trusted.
    RunError
        If the repetition fails.
    """
    if (code := code_of(run)) and not trust_code:
        raise InputError.of(
            f"run {run.id}",
            f"its record names Python code, which a repetition runs: {', '.join(code)}",
            "read that code, then type --trust-code (from Python: trust_code=True)",
        )
    composition = _composition(run)
    return Run.read(run_experiment(composition, folder, run_id=secrets.token_hex(4)))


def _composition(run: Run) -> Composition:
    config = run.config
    if "model" not in config or "probe" not in config:
        raise InputError.of(
            f"run {run.id}", "was saved from Python: its record does not say how to build the model"
        )
    unset = [
        Problem(f"run {run.id}", f"environment variable {name} is not set", f"set {name}")
        for name, default in _VARIABLE.findall(str(config))
        if not default and name not in os.environ
    ]
    if unset:
        raise InputError(unset)
    own = OmegaConf.create({**_escaped(config), "name": None})  # names are unique to a run
    overrides = [given for given in run.record.overrides if not given.startswith("name=")]
    task = {"overrides": {"task": overrides}, "runtime": {"choices": {}}}
    return composition_of(own, OmegaConf.create({"hydra": task}))


def _escaped(value: Any) -> Any:
    """Escape all interpolations but those of the environment: the run resolved all others."""
    if isinstance(value, Mapping):
        return {key: _escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    if isinstance(value, str):
        return re.sub(r"\$\{(?!oc\.env:|oc\.decode:\$\{oc\.env:)", r"\\${", value)
    return value
