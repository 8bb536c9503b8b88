"""The outputs of all layers as arrays in memory, without any file."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Unpack

import keras
import numpy as np

from runner.capture.capture import Capture
from runner.config.capture_config import ShowingOptions
from runner.config.experiment_config import parse_capture
from runner.errors import some
from runner.model.backend import framework
from runner.model.building import check_model
from runner.probe.memory_sources import as_probe
from runner.showing.settings import Settings
from runner.showing.showing import Showing
from runner.tensors import Kind, TensorSpec


@dataclass(frozen=True, kw_only=True, eq=False)
class Activation(TensorSpec):
    """One captured tensor with its values.

    Attributes
    ----------
    value
        Array of shape (sample, ...); for a weight, of the weight's shape.
    """

    value: np.ndarray


class Activations(dict[str, Activation]):
    """The captured tensors of one kind by name, in call order.

    Parameters
    ----------
    found
        The captured tensors.
    left_out
        The left-out names, with reasons.

    Attributes
    ----------
    left_out : dict[str, str]
        Names of the requested tensors that cannot be captured, and paths of the layers
        without a captured tensor, each with the reason.
    """

    def __init__(
        self, found: Iterable[Activation] = (), left_out: Mapping[str, str] | None = None
    ) -> None:
        super().__init__({activation.name: activation for activation in found})
        self.left_out = dict(left_out or {})


def capture_activations(
    model: keras.Model,
    x: Any,
    *,
    kind: Kind = "activation",
    targets: Any = None,
    **options: Unpack[ShowingOptions],
) -> Activations:
    """Show a model some inputs and return the outputs of every layer.

    Parameters
    ----------
    model
        Any Keras model. Its weights, statistics and random streams are not changed.
    x
        The inputs: an array of shape (sample, ...), a list or mapping of arrays for
        several inputs, a ``tf.data.Dataset`` or an iterable of batches.
    kind
        The kind of tensor to return.
    targets
        One per sample, for the kind ``gradient``: targets of the loss that the model was
        compiled with.
    **options
        The capture options ``include``, ``exclude``, ``reduce``, ``dtype``, ``batch_size`` and
        ``training``, as in the configuration.

    Returns
    -------
    Activations
        A dict by name, in call order. A layer that returns another layer's tensor has an entry
        that shares that layer's array. Its ``left_out`` gives the reason why any other layer
        has no entry.

    Raises
    ------
    InputError
        If the model or the inputs are invalid, or a pattern matches no layer.
    RunError
        If the model cannot be called; names the layer where it failed.

    Warns
    -----
    UserWarning
        If nothing could be captured; gives the reason.
    """
    check_model(model)
    settings = Settings(parse_capture(kinds=[kind], **options))
    showing = Showing(model, as_probe(x, targets=targets), settings)
    found = _weights(showing.capture) if kind == "weight" else _outputs(showing)
    return _with_the_rest(found, showing.capture, kind)


def _weights(capture: Capture) -> list[Activation]:
    return [
        Activation(**vars(spec), value=framework().value_of(variable))
        for spec, variable in capture.weights
    ]


def _outputs(showing: Showing) -> list[Activation]:
    """Show the whole probe and return all tensors that have one row per sample, in call order."""
    capture = showing.capture
    with framework().exact():
        batches = [arrays for _, arrays in showing]
    values = {
        spec: np.concatenate([arrays[place] for arrays in batches])
        for place, spec in enumerate(capture.tensors)
        if spec not in capture.lost
    }
    found = [Activation(**vars(spec), value=value) for spec, value in values.items()]
    found += [Activation(**vars(alias), value=values[spec]) for alias, spec in capture.aliases]
    return sorted(found, key=lambda activation: activation.order)


def _with_the_rest(found: list[Activation], capture: Capture, kind: Kind) -> Activations:
    """Return the captured tensors, with the reasons for those that were not captured."""
    left_out = {
        one.name: one.reason
        for layer in capture.layers
        for one in layer.left_out
        if one.kind == kind
    }
    if kind != "weight":
        there = {activation.layer_path for activation in found}
        left_out |= {
            layer.path: layer.reason
            for layer in capture.layers
            if layer.reason is not None and layer.path not in there
        }
    if not found:
        said = [f"'{name}': {reason}" for name, reason in left_out.items()]
        warnings.warn(
            f"no {kind} was captured: {some(said, most=3) or 'the model has none'}",
            UserWarning,
            stacklevel=3,
        )
    return Activations(found, left_out)
