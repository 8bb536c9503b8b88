"""Repetition of a run from its record, as it was or with changes."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf

from runner.config.experiment_config import ExperimentConfig
from runner.config.model_config import SavedModel, is_converted
from runner.config.recorded_config import override, recorded, variables_required
from runner.config.references import check_references
from runner.config.resolve import short
from runner.errors import InputError, Problem, is_text
from runner.experiment.given_weights import GivenWeights
from runner.experiment.worker import worker_on
from runner.local_paths import OUTPUTS
from runner.model.backend import ENGINES, default_backend, running_backend
from runner.model.exporting import check_exportable
from runner.record.record import RunRecord
from runner.runs.run_tensors import RunTensors
from runner.sameness.layer_errors import LayerError
from runner.sameness.making import make_run, measure_errors
from runner.sameness.recipe import Recipe, check_code, code_in, composed
from runner.sameness.reference import Reference
from runner.sameness.run_weights import weights_of
from runner.store_urls import RunPlace
from runner.stores.places import run_at
from runner.stores.store import StoredRun

Made = TypeVar("Made")


@dataclass(frozen=True)
class Repetition:
    """A repetition of a run that was checked and can be made.

    Attributes
    ----------
    run
        The run.
    overrides
        Keys of its configuration with other values, as typed.
    variables
        Variables of the environment that its process gets, with their values.
    trusts_code
        Whether to run the Python code that the configuration names.
    config
        The configuration, with the overrides.
    backend
        The backend that it is made on.
    convert
        The format that the model is converted to, if it is.
    """

    run: RunTensors
    overrides: tuple[str, ...]
    variables: tuple[tuple[str, str], ...]
    trusts_code: bool
    config: DictConfig
    backend: str
    convert: str | None = None

    @property
    def told(self) -> str:
        """What is other than in the run, as typed; empty if nothing is."""
        converted = [] if self.convert is None else [f"--convert {self.convert}"]
        variables = [f"--env {name}={value}" for name, value in self.variables]
        return " ".join([*self.overrides, *converted, *variables])

    @property
    def is_given_weights(self) -> bool:
        """Whether the model is given the weights of the run, instead of its own."""
        model = self.config.get("model")
        if isinstance(model, DictConfig) and is_converted(str(model.get("path", ""))):
            return False
        return bool(self.told or self.run.record.weights_of)

    def folder_name(self, number: int) -> str:
        """Return the name of the folder of the new run among several, as in a sweep."""
        return f"{number}_{short(','.join(self.overrides))}"

    @property
    def recipe(self) -> Recipe:
        """What it is made from."""
        config = OmegaConf.to_container(self.config)
        assert isinstance(config, dict)
        plain = {str(key): value for key, value in config.items()}
        return Recipe(self.run.record, plain, self.overrides, self.trusts_code)

    def make(
        self, folder: RunPlace, weights: GivenWeights | None, reference: Reference | None = None
    ) -> StoredRun:
        """Build the model, show it the probe and publish the new run.

        Parameters
        ----------
        folder
            Folder of the new run, nonexistent or empty.
        weights
            The weights of the run, if the model is given them.
        reference
            What its layers are held against, whose errors are then in a file of the new run.

        Raises
        ------
        InputError
            If the model cannot be built, or cannot have these weights.
        RunError
            If the new run fails.
        """
        if self.config.get("intervene"):
            reference = None
        place = folder.absolute() if isinstance(folder, Path) and not self._runs_here else folder
        made = place, secrets.token_hex(4), weights, self.convert, reference
        published = self._result(make_run, *made)
        return run_at(published.absolute() if isinstance(published, Path) else published)

    def measured(
        self, values: StoredRun, weights: GivenWeights, *, nudged: bool = False
    ) -> Mapping[str, LayerError]:
        """Build the model, and return how far its layers are from the values of a run.

        Parameters
        ----------
        values
            A run with the values.
        weights
            The weights of the run, which the model is given.
        nudged
            Whether the inputs of the model, and of each layer, are changed by one bit.

        Raises
        ------
        InputError
            If the model cannot be built, or cannot have these weights.
        RunError
            If the model fails.
        """
        return self._result(measure_errors, values, weights, nudged)

    @property
    def _runs_here(self) -> bool:
        return not self.variables and running_backend() in (None, self.backend)

    def _result(self, function: Callable[..., Iterator[Made]], *arguments: Any) -> Made:
        """Return what a function of `runner.sameness.making` yields, in this process or another."""
        run = worker_on(self.backend, self.variables).run if not self._runs_here else _here
        [result] = run(function, self.recipe, *arguments)
        return result


def prepared(
    run: RunTensors,
    overrides: Sequence[str] = (),
    variables: Mapping[str, str] | None = None,
    *,
    trust_code: bool = False,
    convert: str | None = None,
) -> Repetition:
    """Check that a run can be repeated.

    Parameters
    ----------
    run
        A run made from a configuration.
    overrides
        Keys of the configuration with other values: ``backend=jax``. The model is then given the
        weights of the run, and is not trained.
    variables
        Variables of the environment that its process gets, with their values.
    trust_code
        Whether to run the Python code that the configuration names.
    convert
        A format such as ``onnx``: the model is converted, and the new run is that of the file.

    Raises
    ------
    InputError
        If the run was not made from a configuration, something that its configuration
        names no longer exists, an override is invalid, the configuration names code that is
        not trusted, or the model cannot be converted.
    """
    record = run.record
    _check(record)
    given = tuple((variables or {}).items())
    _check_variables(given)
    config = _config(record, overrides)
    check_code(record, config, trust_code=trust_code)
    if convert is not None:
        _check_convertible(config, convert)
        config.backend = None if default_backend()[0] == "tensorflow" else "tensorflow"
    backend = config.get("backend") or default_backend()[0]
    repetition = Repetition(run, tuple(overrides), given, trust_code, config, backend, convert)
    if repetition.told or repetition.is_given_weights:
        config.train = None
    experiment = composed(config, record, repetition.overrides).experiment
    check_references(experiment)
    _check_quantized(record, experiment)
    return repetition


def code_of(run: RunTensors, overrides: Sequence[str] = ()) -> list[str]:
    """Return the Python code that a repetition of a run would run: ``model.function: nets:build``.

    The environment, from which a repetition fills in the variables of the record, counts.
    """
    return code_in(_config(run.record, overrides))


def weights_for(run: RunTensors) -> GivenWeights:
    """Return the weights of a run for its repetitions.

    Raises
    ------
    InputError
        As in `runner.sameness.run_weights.weights_of`.
    """
    return weights_of(run, composed(_config(run.record), run.record, ()).experiment)


def _here(function: Callable[..., Iterator[Made]], *arguments: Any) -> Iterator[Made]:
    return function(*arguments)


def new_folder() -> Path:
    """Return a folder for a new run, where runs are kept by default."""
    now = datetime.now()
    return OUTPUTS / f"{now:%Y-%m-%d}" / f"{now:%H-%M-%S}-{secrets.token_hex(4)}"


def _check(record: RunRecord) -> None:
    if "model" not in record.config or "probe" not in record.config:
        raise InputError.of(
            f"run {record.run_id}",
            "was saved from Python: its record does not say how to build the model",
            "give the model, in Python: run.rerun(model=...)",
        )
    unset = [
        Problem(f"run {record.run_id}", f"environment variable {name} is not set", f"set {name}")
        for name in variables_required(record.config)
        if name not in os.environ
    ]
    if unset:
        raise InputError(unset)


def _check_quantized(record: RunRecord, experiment: ExperimentConfig) -> None:
    """Check that a run of a quantized model is not asked for with another quantization."""
    before = record.config["model"].get("quantize")
    if before is None or before == experiment.model.quantize or _is_other(experiment):
        return
    advice = "rerun a run that is not quantized"
    if record.weights_of is not None:
        advice = f"rerun the run whose weights it was given: {record.weights_of}"
    raise InputError.of(
        "model.quantize",
        f"run {record.run_id} is quantized, and no other model has its weights",
        advice,
    )


def _check_convertible(config: DictConfig, format: str) -> None:
    """Check that the model of a run can be converted to a format."""
    check_exportable(format)
    if is_converted(str(config.model.get("path", ""))):
        raise InputError.of("convert", "the model is a converted one already", "leave it out")


def _is_other(experiment: ExperimentConfig) -> bool:
    """Return whether the model is one that was converted, with weights of its own."""
    return isinstance(experiment.model, SavedModel) and is_converted(experiment.model.path)


def _check_variables(variables: Sequence[tuple[str, str]]) -> None:
    problems = []
    for name, value in variables:
        if "\0" in value or not is_text(value):
            problems.append(Problem("env", f"{value!r} cannot be the value of a variable"))
        if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
            problems.append(Problem("env", f"{name!r} cannot name a variable", "give NAME=VALUE"))
        elif name == "KERAS_BACKEND":
            problems.append(Problem("env", f"{name} is a key of the configuration", "backend=..."))
    if problems:
        raise InputError(problems)


def _config(record: RunRecord, overrides: Sequence[str] = ()) -> DictConfig:
    """Return the configuration of a run, on its own backend, with overrides."""
    config = recorded(record.config)
    own = record.backend
    if own is not None and own.name in ENGINES and own.name != default_backend()[0]:
        config.backend = config.get("backend") or own.name
    override(config, overrides)
    return config
