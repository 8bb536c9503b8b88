"""The inputs and arguments of layer calls, without the values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from runner.bounds import Entries, Items, Name


@dataclass(frozen=True)
class Wire:
    """One input tensor of a layer call.

    Attributes
    ----------
    argument
        Name of the argument: ``inputs``, ``query``; ``inputs.1`` in a list.
    tensor
        Name of the activation that the tensor is; ``None`` if it is not a layer's output.
    model_input
        The model input that the tensor is: a name, or a position in a list; ``None`` if it is
        not one.
    masked
        Whether the tensor has a Keras mask.
    place
        Its place among several tensors, which names a captured input without another name.
    derivation
        How the tensor was computed, if it is neither a layer's output that has a table nor an
        input of the model (see `runner.engines.engine.Engine`); ``None`` if unknown.
    """

    argument: str
    tensor: str | None = None
    model_input: str | None = None
    masked: bool = False
    place: str | None = None
    derivation: dict[str, Any] | None = None


@dataclass(frozen=True)
class CallWiring:
    """One call of a layer.

    Attributes
    ----------
    name
        Call path: the name of its output, and of each part of the output up to the ``:``.
    wires
        The input tensors, in the order of the arguments.
    settings
        Further arguments that are plain values: numbers, texts and lists of a few of them, a
        slice as ``{"slice": [start, stop, step]}``, an ellipsis as ``...``, and a constant of
        many numbers as ``{"shape": [...]}``.
    derivations
        How the outputs of a custom layer were computed: place in a structured output, or an
        empty text for a plain output, to derivation (see `runner.engines.engine.Engine`).
    """

    name: Name
    wires: Items[Wire]
    settings: dict[str, Any] = field(default_factory=dict)
    derivations: Entries[str, dict[str, Any]] = field(default_factory=dict)
