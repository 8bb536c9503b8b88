"""Makes the record of every layer of a run."""

from __future__ import annotations

from collections import defaultdict

from runner.capture.capture import Capture
from runner.config.environment_values import EnvironmentValues
from runner.record.layer_record import ChangeRecord, LayerRecord, TensorRecord
from runner.saving.tensor_tables import TensorTables
from runner.showing.showing import Showing
from runner.table_formats import FORMATS
from runner.tensors import TensorSpec


def with_tables(capture: Capture) -> list[TensorSpec]:
    """Return the captured tensors that have a table with one row per sample."""
    return [spec for spec in capture.tensors if spec not in capture.lost]


def records_of(
    showing: Showing, tables: TensorTables, variables: EnvironmentValues
) -> tuple[LayerRecord, ...]:
    """Return the record of every layer, in call order.

    Parameters
    ----------
    showing
        The probe as shown.
    tables
        Its tables, complete.
    variables
        The environment variables in use: their values are kept out of the record.
    """
    capture, invariance, files = showing.capture, showing.invariance, tables.files
    edits, keeps_values = showing.edits, FORMATS[showing.settings.format].keeps_values

    def changed_by(spec: TensorSpec) -> tuple[ChangeRecord, ...]:
        return () if edits is None else edits.records(spec)

    tensors: dict[str, list[TensorRecord]] = defaultdict(list)

    def recorded(spec: TensorSpec, alias: TensorSpec | None = None) -> None:
        path, known, name = tables.path(spec), alias or spec, None if alias is None else spec.name
        if path in files or not keeps_values:  # only the first part of a run has the weights
            record = TensorRecord.of(
                known, path, files.get(path), name, invariance.get(spec), changed_by(known)
            )
            tensors[known.layer_path].append(record)

    for spec in (*with_tables(capture), *(spec for spec, _ in capture.weights)):
        recorded(spec)
    for alias, spec in capture.aliases:
        recorded(spec, alias)
    layers = [
        LayerRecord(
            **{
                **vars(layer),
                "arguments": variables.arguments(layer.path, layer.arguments),
                "tensors": tuple(sorted(tensors.pop(layer.path, []), key=lambda one: one.order)),
            }
        )
        for layer in capture.layers
    ]
    # Weights that belong to the model itself, not to a layer.
    model_class = type(showing.model).__name__
    layers += [
        LayerRecord(path, model_class, None, tuple(own), "the model itself")
        for path, own in tensors.items()
    ]
    return tuple(layers)
