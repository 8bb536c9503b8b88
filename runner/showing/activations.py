"""The outputs of all layers as arrays in memory, without any file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np

from runner.caller_warnings import warn_caller
from runner.capture.capture import Capture
from runner.capture.model_libraries import library_of
from runner.config.capture_config import ShowingOptions
from runner.config.parsing import parse_capture, parse_interventions
from runner.errors import some
from runner.intervening.intervened import showing_of
from runner.probe.memory_sources import as_probe
from runner.showing.settings import Settings
from runner.showing.showing import Showing
from runner.tensors import PER_SAMPLE, Kind, TensorSpec


@dataclass(frozen=True, kw_only=True, eq=False)
class Activation(TensorSpec):
    """One captured tensor with its values.

    Attributes
    ----------
    value
        Array of shape (sample, ...); for a weight, of the weight's shape. It is read-only, since
        several tensors can share their values: change a copy of it.
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
    model: Any,
    x: Any,
    *,
    kind: Kind = "activation",
    targets: Any = None,
    loss: Any = None,
    intervene: Mapping[str, Any] | None = None,
    **options: Unpack[ShowingOptions],
) -> Activations:
    """Show a model some inputs and return the outputs of every layer.

    Parameters
    ----------
    model
        Any Keras model or ``torch.nn.Module``. It is not changed.
    x
        The inputs: an array of shape (sample, ...), a list or mapping of arrays for
        several inputs, a ``tf.data.Dataset`` or an iterable of batches. A ``torch.nn.Module`` gets
        a list as arguments and a mapping as keyword arguments.
    kind
        The kind of tensor to return.
    targets
        One per sample, for the kind ``gradient``: targets of the loss.
    loss
        For the kind ``gradient``: a function of the model's output and the targets, that a
        ``torch.nn.Module`` needs; a Keras model may have been compiled with one.
    intervene
        What is done to the outputs of layers, by pattern, as in the configuration: the returned
        values are those after it.
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
    library = library_of(model)  # before the inputs are checked
    capture = parse_capture(kinds=[kind], **options)
    settings = Settings(capture, loss=loss, intervene=parse_interventions(intervene))
    probe = as_probe(x, targets=targets)
    with library.exact():  # once for all batches
        showing = showing_of(model, probe, settings)
        found = _outputs(showing) if kind in PER_SAMPLE else _weights(showing.capture)
    return _with_the_rest(found, showing.capture, kind)


def _weights(capture: Capture) -> list[Activation]:
    return [
        Activation(**vars(spec), value=capture.library.value_of(variable))
        for spec, variable in capture.weights
    ]


def _outputs(showing: Showing) -> list[Activation]:
    """Show the whole probe and return all tensors that have one row per sample, in call order."""
    capture = showing.capture
    batches = [arrays for _, arrays in showing]
    values = {
        spec: _joined([part for arrays in batches if (part := arrays[place]) is not None])
        for place, spec in enumerate(capture.tensors)
        if spec not in capture.lost
    }
    found = [Activation(**vars(spec), value=value) for spec, value in values.items()]
    found += [Activation(**vars(alias), value=values[spec]) for alias, spec in capture.aliases]
    return sorted(found, key=lambda activation: activation.order)


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    """Return arrays of shape (sample, ...) as one, which is read-only; a single one as it is."""
    joined = parts[0][:] if len(parts) == 1 else np.concatenate(parts)
    joined.flags.writeable = False
    return joined


def _with_the_rest(found: list[Activation], capture: Capture, kind: Kind) -> Activations:
    """Return the captured tensors, with the reasons for those that were not captured."""
    left_out = {
        one.name: one.reason
        for layer in capture.layers
        for one in layer.left_out
        if one.kind == kind
    }
    if kind in PER_SAMPLE:
        there = {activation.layer_path for activation in found}
        left_out |= {
            layer.path: layer.reason
            for layer in capture.layers
            if layer.reason is not None and layer.path not in there
        }
    if not found:
        said = [f"'{name}': {reason}" for name, reason in left_out.items()]
        warn_caller(f"no {kind} was captured: {some(said, most=3) or 'the model has none'}")
    return Activations(found, left_out)
