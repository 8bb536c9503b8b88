"""Makes a repetition of a run, or measures it, in the process that holds its model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from runner.errors import InputError, RunnerError
from runner.experiment.conversion import run_converted
from runner.experiment.experiment import make_ready, run_experiment
from runner.experiment.given_weights import GivenWeights
from runner.file_names import LAYER_ERRORS, MODEL
from runner.model.exporting import check_exportable
from runner.probe.probe import Probe
from runner.record.reading import read_record
from runner.runs.run_tensors import RunTensors
from runner.sameness.counterparts import counterparts_in
from runner.sameness.error_table import ErrorTable
from runner.sameness.layer_errors import LayerError, errors_of
from runner.sameness.recipe import Recipe
from runner.sameness.reference import Reference
from runner.store_urls import RunPlace, StoreUrl
from runner.stores.store import StoredRun


def make_run(
    recipe: Recipe,
    folder: RunPlace,
    run_id: str,
    weights: GivenWeights | None,
    convert: str | None,
    reference: Reference | None,
) -> Iterator[RunPlace]:
    """Make a repetition, and yield its folder.

    Parameters
    ----------
    recipe
        What it is made from.
    folder
        Folder or URL of the new run, nonexistent or empty.
    run_id
        Its id.
    weights
        The weights that its model is given, if any.
    convert
        The format that the model is converted to, if it is.
    reference
        The values that its layers are compared with, if they are.
    """
    composition = recipe.composition()
    beside = None if reference is None else partial(errors_beside, reference)
    if convert is None:
        run_experiment(composition, folder, run_id=run_id, weights=weights, beside=beside)
    else:
        assert weights is not None, "a model is converted with the weights of the run"
        if isinstance(folder, StoreUrl):
            raise InputError.of(str(folder), "a converted model is kept in a folder", "name one")
        file = folder / (MODEL + check_exportable(convert))
        after = recipe.with_model(file).composition()
        run_converted(composition.experiment, after, folder, run_id, weights, beside)
    yield folder


def measure_errors(
    recipe: Recipe, values: StoredRun, weights: GivenWeights, nudged: bool
) -> Iterator[Mapping[str, LayerError]]:
    """Build the model of a repetition, and yield the errors of its layers.

    Parameters
    ----------
    recipe
        What it is made from.
    values
        The run that they are compared with.
    weights
        The weights that its model is given.
    nudged
        Whether the inputs of the model, and of each layer, are changed by one bit.
    """
    model, probe = make_ready(recipe.composition(), weights.model_of)
    yield errors_of(model, probe, _opened(values), nudged=nudged)


def errors_beside(reference: Reference, model: Any, probe: Probe) -> dict[str, bytes]:
    """Return the file of a new run that tells the errors of its layers, by its name.

    Parameters
    ----------
    reference
        What its layers are held against.
    model, probe
        Its model and probe.
    """
    own: Mapping[str, LayerError] = {}
    why = reference.why
    if why is None:
        try:
            values = _opened(reference.values)
            own = errors_of(model, probe, values, partial(counterparts_in, model, probe, values))
        except RunnerError as error:
            why = str(error)
    if not own and not reference.floors:
        return {}
    return {LAYER_ERRORS: ErrorTable.of(reference, own, why).to_json()}


def _opened(stored: StoredRun) -> RunTensors:
    return RunTensors(stored, read_record(stored))
