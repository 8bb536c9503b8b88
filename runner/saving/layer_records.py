"""Makes the record of every layer of a run."""

from __future__ import annotations

from collections import defaultdict

from runner.capture.capture import Capture
from runner.config.environment_values import EnvironmentValues
from runner.record.layer_record import LayerRecord, TensorRecord
from runner.saving.tensor_tables import TensorTables
from runner.showing.showing import Showing
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
    tensors: dict[str, list[TensorRecord]] = defaultdict(list)
    for spec in (*with_tables(capture), *(spec for spec, _ in capture.weights)):
        path = tables.path(spec)
        record = TensorRecord.of(spec, path, files[path], invariance=invariance.get(spec))
        tensors[spec.layer_path].append(record)
    for alias, spec in capture.aliases:
        path, known = tables.path(spec), invariance.get(spec)
        record = TensorRecord.of(alias, path, files[path], spec.name, known)
        tensors[alias.layer_path].append(record)
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
