"""The graphs of Functional models as Keras 2 wrote them, in the form of Keras 3."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Config = dict[str, Any]

_MODELS = ("Functional", "Model", "Network", "Sequential")
# Layers that were called with their initial states as further inputs.
_RECURRENT = ("Bidirectional", "ConvLSTM2D", "GRU", "LSTM", "RNN", "SimpleRNN")


def plain_name(name: str) -> str:
    """Return a layer's name without slashes, which Keras 3 does not allow."""
    return name.replace("/", "_")


def is_model(stored: Config) -> bool:
    """Return whether a configuration is of a Sequential or a Functional model."""
    return stored["class_name"] in _MODELS or "input_layers" in stored["config"]


def with_calls(stored: list[Config], layers: list[Config], ends: Config, is_old: bool) -> Config:
    """Return the layers of a model with their calls, and the model's inputs and outputs.

    Parameters
    ----------
    stored
        The layers as the file describes them.
    layers
        The same layers as the installed Keras reads them, without calls.
    ends
        Holds the model's inputs and outputs, ``input_layers`` and ``output_layers``.
    is_old
        Whether Keras 2 wrote the file.
    """
    # Keras 2 counted the calls of a nested model from 1. Keras 3 counts them from 0, except
    # that a nested Functional model is an output of the model.
    nested = {layer["name"] for layer in stored if is_old and is_model(layer)}
    counted = nested - {layer["name"] for layer in stored if "input_layers" in layer["config"]}
    for layer, found in zip(layers, stored, strict=True):
        layer["name"] = plain_name(found["name"])
        layer["inbound_nodes"] = [
            _call(node, found["class_name"], nested) for node in found["inbound_nodes"]
        ]
    graph: Config = {"layers": layers}
    for key in ("input_layers", "output_layers"):
        tensors = _mapped(ends[key], counted, lambda *history: [*history])
        # A single tensor in a list stood for the tensor.
        one = is_old and isinstance(tensors, list) and len(tensors) == 1
        graph[key] = tensors[0] if one else tensors
    return graph


def _call(node: Any, class_name: str, nested: set[str]) -> Any:
    """Return the arguments of one call of a layer."""
    if isinstance(node, dict):
        return node
    inputs = [node] if node and isinstance(node[0], str) else node
    tensors = [_mapped(found[:3], nested, _tensor) for found in inputs]
    keywords = inputs[-1][3] if inputs and len(inputs[-1]) > 3 else {}
    keywords = {
        name: _mapped(value, nested, _tensor)
        for name, value in keywords.items()
        if value is not None
    }
    if class_name in _RECURRENT and len(tensors) > 1:
        keywords["initial_state"] = tensors[1:]
        tensors = tensors[:1]
    return {"args": tensors if len(tensors) < 2 else [tensors], "kwargs": keywords}


def _mapped(found: Any, nested: set[str], make: Callable[[str, int, int], Any]) -> Any:
    """Return a structure in which every tensor, ``[layer, call, output]``, is made anew."""
    match found:
        case [str(layer), int(call), int(output)]:
            return make(plain_name(layer), call - (layer in nested), output)
        case list():
            return [_mapped(item, nested, make) for item in found]
        case dict():
            return {key: _mapped(item, nested, make) for key, item in found.items()}
    return found


def _tensor(layer: str, call: int, output: int) -> Config:
    # The shape and the dtype are those of the tensor that replaces this one.
    history = [layer, call, output]
    config = {"shape": [], "dtype": "float32", "keras_history": history}
    return {"class_name": "__keras_tensor__", "config": config}
