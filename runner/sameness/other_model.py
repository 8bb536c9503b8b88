"""The probe of a run, shown to another model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from runner.capture.model_libraries import library_of
from runner.config.parsing import parse_capture
from runner.errors import InputError, RunnerError
from runner.probe.memory_sources import array_probe
from runner.probe.probe import Probe
from runner.record.header import Header
from runner.runs.run_tensors import RunTensors
from runner.runs.shown_probe import ShownProbe
from runner.sameness.floors import floors_by_noise, reference_for
from runner.sameness.making import errors_beside
from runner.sameness.reference import Reference, has_all_values
from runner.sameness.repetition import prepared
from runner.store_urls import RunPlace
from runner.stores.places import draft_at
from runner.stores.store import StoredRun


def show_to(
    model: Any, run: RunTensors, shown: ShownProbe, folder: RunPlace, *, trust_code: bool = False
) -> StoredRun:
    """Show a model the probe of a run, and publish the same kinds of tensors.

    Parameters
    ----------
    model
        Any model of a library in `runner.capture.model_libraries`.
    run, shown
        The run, and the probe that it was shown.
    folder
        Folder of the new run, nonexistent or empty.
    trust_code
        Whether to run the Python code that the run's configuration names, for its own model.

    Raises
    ------
    InputError
        If the run does not keep its inputs, or the model is not one.
    RunError
        If the model fails.
    """
    library_of(model)
    from runner.saving.saving import save
    from runner.showing.settings import Settings

    record = run.record
    about = record.probe
    if about is None:
        raise InputError.of(f"run {record.run_id}", "was shown no probe")
    inputs = {given.name: shown.input(given.name).values for given in about.inputs}
    labels = shown.select("label").iloc[:, 0] if about.has_labels else None
    targets = shown.select("target").to_numpy() if about.has_targets else None
    probe = array_probe(
        about.source,
        inputs if len(inputs) > 1 else next(iter(inputs.values())),
        shown.table.index,
        labels,
        targets if targets is None or targets.shape[1] > 1 else targets[:, 0],
    )
    kinds = list(dict.fromkeys(tensor.kind for tensor in record.tensors))
    settings = Settings(parse_capture(kinds=kinds, training=about.training), record.format)
    header = Header.of_model(None, {"seed": record.seed} if record.seed is not None else None)
    with _reference(run, model, probe, trust_code=trust_code) as reference:
        header = replace(header, files=errors_beside(reference, model, probe))
    return save(model, probe, draft_at(folder, "path"), header, settings)


@contextlib.contextmanager
def _reference(
    run: RunTensors, model: Any, probe: Probe, *, trust_code: bool
) -> Iterator[Reference]:
    """Yield what the layers of the new run are compared with.

    The record of a run that was saved from Python does not say how to build its model: rounding
    is then measured with the new model.
    """
    found = None
    with contextlib.ExitStack() as scope:
        with contextlib.suppress(RunnerError):
            prepared(run, trust_code=trust_code)
            found = scope.enter_context(reference_for(run, trust_code=trust_code))
        if found is None:
            id_ = run.record.run_id
            why = None if has_all_values(run.record) else f"run {id_} has not all layers' values"
            found = Reference.of(run, why=why, floor_by=_BY_NOISE)
            try:
                found = replace(found, floors=floors_by_noise(model, probe, run))
            except RunnerError as error:
                found = replace(found, floor_by=f"not measured: {error}")
        yield found


_BY_NOISE = "the new model, with one bit of noise in the inputs of each layer"
