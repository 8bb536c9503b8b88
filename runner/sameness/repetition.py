"""Repetition of a run from its record."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from runner.config.composition import Composition, composition_of
from runner.config.resolve import DEEPEST, named_code, resolved
from runner.errors import InputError, Problem
from runner.experiment.experiment import run_experiment
from runner.runs.published_run import Run

# A variable as a record writes it. Its default is plain text: a record may not hold more code.
_VARIABLE = r"\$\{oc\.env:\w+(?:,[^\[\]{}()$\\\"',]*)?\}"
_INTERPOLATION = re.compile(
    rf"(?P<backslashes>\\*)(?:(?P<variable>\$\{{oc\.decode:{_VARIABLE}\}}|{_VARIABLE})|\$\{{)"
)
_REQUIRED = re.compile(r"\$\{oc\.env:(\w+)\}")


def code_of(run: Run) -> list[str]:
    """Return the Python code that a repetition of a run would run: ``model.function: nets:build``.

    The environment, from which a repetition fills in the variables of the record, counts.
    """
    plain, _ = resolved(_filled_in(run))
    return [f"{place}: {value}" for place, value in named_code(plain)]


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
        for name in _REQUIRED.findall(str(config))
        if name not in os.environ
    ]
    if unset:
        raise InputError(unset)
    overrides = [given for given in run.record.overrides if not given.startswith("name=")]
    task = {"overrides": {"task": overrides}, "runtime": {"choices": {}}}
    return composition_of(_filled_in(run), OmegaConf.create({"hydra": task}))


def _filled_in(run: Run) -> DictConfig:
    """Return a run's configuration, in which only variables of the environment are resolved."""
    return OmegaConf.create({**_escaped(run.config), "name": None})  # names are unique to a run


def _escaped(value: Any, depth: int = 0) -> Any:
    """Escape all interpolations but those of the environment: the run resolved all others."""
    if depth > DEEPEST:
        raise InputError.of("config", "is nested too deeply to be read")
    if isinstance(value, Mapping):
        return {key: _escaped(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_escaped(item, depth + 1) for item in value]
    if isinstance(value, str):
        return _INTERPOLATION.sub(_escaped_match, value)
    return value


def _escaped_match(match: re.Match[str]) -> str:
    """Return an interpolation, and the backslashes before it, as OmegaConf would read them."""
    backslashes = 2 * match["backslashes"]
    return backslashes + (match["variable"] or r"\${")
