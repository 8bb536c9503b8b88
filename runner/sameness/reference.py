"""The values with which the layers of a repeated run are compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runner.capture.inventory import NOT_SELECTED
from runner.record.record import RunRecord
from runner.runs.run_tensors import RunTensors
from runner.sameness.layer_errors import LayerError
from runner.stores.store import StoredRun


@dataclass(frozen=True)
class Reference:
    """The values of a run, and what rounding alone changes in them.

    Attributes
    ----------
    run_id
        The run.
    values
        A run with the values of all of its layers: itself, or one that was made again for this.
    dtypes
        The dtypes of its activations by their names.
    why
        Why the values cannot be given to the layers of the new run; ``None`` if they can.
    floors
        The errors that rounding alone causes, by the names of activations.
    floor_by
        How these were measured, or why they were not.
    """

    run_id: str
    values: StoredRun
    dtypes: Mapping[str, str]
    why: str | None = None
    floors: Mapping[str, LayerError] = field(default_factory=dict)
    floor_by: str = ""

    @classmethod
    def of(cls, run: RunTensors, values: RunTensors | None = None, **known: Any) -> Reference:
        """Return what the layers of another run are compared with.

        Parameters
        ----------
        run
            The first run.
        values
            The run with the values of all of its layers; by default itself.
        **known
            Further attributes.
        """
        values = values or run
        dtypes = {one.name: one.dtype for one in values.record.tensors if one.kind == "activation"}
        return cls(run.record.run_id, values.stored, dtypes, **known)


def has_all_values(record: RunRecord) -> bool:
    """Return whether a run has tables of all layers' activations, as they were computed."""
    capture = record.config.get("capture")
    if isinstance(capture, Mapping) and capture.get("dtype") is not None:
        return False
    activations = [one for one in record.tensors if one.kind == "activation"]
    kept = {one.layer_path for one in activations}
    return not any(one.reduction for one in activations) and all(
        layer.path in kept if layer.reason is None else layer.reason != NOT_SELECTED
        for layer in record.layers
    )
