"""What rounding alone changes in the layers of a run: measured with the run's own model."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner.capture.model_libraries import library_of
from runner.config.model_config import is_converted
from runner.errors import RunnerError
from runner.experiment.given_weights import GivenWeights
from runner.model.backend import ENGINES
from runner.probe.probe import Probe
from runner.record.reading import read_record
from runner.runs.run_tensors import RunTensors
from runner.sameness.counterparts import counterparts_of, shown_once
from runner.sameness.distance import TOLERANCES
from runner.sameness.layer_errors import LayerError, errors_of
from runner.sameness.reference import Reference, has_all_values
from runner.sameness.repetition import prepared, weights_for
from runner.stores.store import StoredRun

_WHOLE = (
    "capture.kinds=[activation,weight]",
    "capture.include=['**']",
    "capture.exclude=[]",
    "capture.reduce={}",
    "capture.dtype=null",
    "format=parquet",
)
"""Keys with which a run has the values of all layers, as they were computed."""


@contextlib.contextmanager
def reference_for(
    run: RunTensors, weights: GivenWeights | None = None, *, trust_code: bool = False
) -> Iterator[Reference | None]:
    """Yield what the layers of a run that is made again are held against.

    Where the tables of the run do not have the values of all layers, they are computed again, and
    kept while the scope lasts.

    Parameters
    ----------
    run
        A run that can be repeated.
    weights
        Its weights, if they are known already.
    trust_code
        Whether to run the Python code that its configuration names.

    Yields
    ------
    Reference or None
        ``None`` for a model that was converted, in training mode, with interventions, and where
        the weights of the run cannot be had again.
    """
    model_path = str(run.record.config["model"].get("path", ""))
    changed = run.record.config.get("intervene")
    if is_converted(model_path) or changed or run.probe_record.training:
        yield None
        return
    try:
        weights = weights or weights_for(run)
    except RunnerError:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="runner-reference-") as place:
        reference = Reference.of(run)
        if not has_all_values(run.record):
            try:
                again = prepared(run, _WHOLE, trust_code=trust_code)
                made = again.make(Path(place, "run"), weights)
                reference = Reference.of(run, RunTensors(made, read_record(made)))
            except RunnerError as error:
                reference = replace(reference, why=str(error))
        try:
            floors, how = _floors_of(run, reference.values, weights, trust_code)
        except RunnerError as error:
            floors, how = {}, f"not measured: {error}"
        yield replace(reference, floors=floors, floor_by=how)


def _floors_of(
    run: RunTensors, values: StoredRun, weights: GivenWeights, trust_code: bool
) -> tuple[Mapping[str, LayerError], str]:
    """Return the errors that rounding causes, and how they were measured.

    Large ones may have another cause: that the same model gives other values now than it gave when
    the run was made. It is then run again, for them to be measured from what it gives now.
    """
    found, how = _measured(run, values, weights, trust_code)
    dtypes = {tensor.name: tensor.dtype for tensor in run.record.tensors}
    if any(
        (each.error or 0.0) > TOLERANCES.get(dtypes.get(name, ""), 0.0)
        for name, each in found.items()
    ):
        with tempfile.TemporaryDirectory(prefix="runner-reference-") as place:
            again = prepared(run, _WHOLE, trust_code=trust_code)
            now = again.make(Path(place, "run"), weights)
            return _measured(run, now, weights, trust_code)
    return found, how


def _measured(
    run: RunTensors, values: StoredRun, weights: GivenWeights, trust_code: bool
) -> tuple[Mapping[str, LayerError], str]:
    """Return the errors of the run's own model, if it rounds otherwise."""
    config, backend = run.record.config, run.record.backend
    framework = ENGINES.get(backend.name) if backend is not None else None
    variables = framework.for_float64 if framework is not None else {}
    how = "not measured"
    if config["model"].get("dtype") != "float64":
        try:
            fine = prepared(run, ["model.dtype=float64"], variables, trust_code=trust_code)
            return fine.measured(values, weights), "the run's model in float64"
        except RunnerError as error:
            how = f"{how}: {error}"
    try:
        same = prepared(run, trust_code=trust_code)
        found = same.measured(values, weights, nudged=True)
    except RunnerError:
        return {}, how
    return found, "the run's model, with one bit of noise in the inputs of each layer"


def floors_by_noise(model: Any, probe: Probe, run: RunTensors) -> Mapping[str, LayerError]:
    """Return what one bit of noise causes in a model, by the names of a run's activations.

    Parameters
    ----------
    model, probe
        The model, and the probe of the run.
    run
        The run, whose layers the model has, under these names or others.
    """
    with tempfile.TemporaryDirectory(prefix="runner-reference-") as place:
        model = library_of(model).unrounded(model) or model  # integers hide one bit of noise
        itself = shown_once(model, probe, Path(place, "run"))
        errors = errors_of(model, probe, itself, nudged=True)
        pairs = counterparts_of(run, itself)
        return {name: errors[each.name] for name, each in pairs.items() if each.name in errors}
