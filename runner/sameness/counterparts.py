"""Finds the tensors of a model that correspond to those of a run."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.config.parsing import parse_capture
from runner.probe.probe import Probe
from runner.record.header import Header
from runner.record.reading import read_record
from runner.runs.run_tensors import RunTensors
from runner.sameness.layer_errors import Counterpart
from runner.sameness.matching import matches
from runner.sameness.naming import go_by_names
from runner.stores.local_draft import LocalDraft
from runner.tensors import Kind

_KINDS: tuple[Kind, ...] = ("activation",)


def counterparts_in(model: Any, probe: Probe, run: RunTensors) -> Mapping[str, Counterpart]:
    """Return the tensors of a model that correspond to the activations of a run, by their names.

    The model is shown the probe, and its values are matched with those of the run.

    Parameters
    ----------
    model
        The model.
    probe
        The probe of the run.
    run
        The run, with the values of all layers.
    """
    with tempfile.TemporaryDirectory(prefix="runner-counterparts-") as place:
        other = shown_once(model, probe, Path(place, "run"))
        return counterparts_of(run, other)


def counterparts_of(run: RunTensors, other: RunTensors) -> Mapping[str, Counterpart]:
    """Return the activations of another run that correspond to those of a run.

    They are paired as in `runner.sameness.pairing`: by name, or matched if few names are shared.
    """
    names, shapes = (
        {one.name: one.shape for one in each.record.tensors if one.kind in _KINDS}
        for each in (run, other)
    )
    if go_by_names(names, shapes):
        return {name: Counterpart(name) for name in names if names[name] == shapes.get(name)}
    return {
        match.a.name: Counterpart(match.b.name, match.rearranged)
        for match in matches(run, other, _KINDS)
    }


def shown_once(model: Any, probe: Probe, folder: Path) -> RunTensors:
    """Show a model the probe, and publish its activations and weights in a folder."""
    from runner.saving.saving import save
    from runner.showing.settings import Settings

    settings = Settings(parse_capture(kinds=[*_KINDS, "weight"]))
    stored = save(model, probe, LocalDraft(folder), Header.of_model(None, None), settings)
    return RunTensors(stored, read_record(stored))
