"""A run made once more from its record."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from runner.config.composition import Composition, composition_of
from runner.errors import InputError, Problem
from runner.experiment.experiment import run_experiment
from runner.runs.published_run import Run

_VARIABLE = re.compile(r"\$\{oc\.env:([^,}]+)(,[^}]*)?\}")


def repeated(run: Run, folder: Path) -> Run:
    """Build the model of a run again, show it the probe and publish what comes out.

    Parameters
    ----------
    run
        A run made from a configuration.
    folder
        Where to publish the repetition: absent, or empty.

    Raises
    ------
    InputError
        If the run was not made from a configuration, or something that its configuration
        names is no longer there.
    RunError
        If the repetition fails.
    """
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
    own = OmegaConf.create({**_escaped(config), "name": None})  # a name is one run's alone
    overrides = [given for given in run.record.overrides if not given.startswith("name=")]
    task = {"overrides": {"task": overrides}, "runtime": {"choices": {}}}
    return composition_of(own, OmegaConf.create({"hydra": task}))


def _escaped(value: Any) -> Any:
    """Let only the environment be interpolated: all else was resolved when the run was made."""
    if isinstance(value, Mapping):
        return {key: _escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    if isinstance(value, str):
        return re.sub(r"\$\{(?!oc\.env:|oc\.decode:\$\{oc\.env:)", r"\\${", value)
    return value
