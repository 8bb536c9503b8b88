"""What a layer was called on, without the values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from runner.bounds import Name


@dataclass(frozen=True)
class Wire:
    """One tensor that a layer was called on.

    Attributes
    ----------
    argument
        The argument that it was: ``inputs``, ``query``; ``inputs.1`` in a list.
    tensor
        Name of the activation that it is; ``None`` where it is no layer's output.
    model_input
        Likewise which input of the model it is: a name, or a position in a list.
    masked
        Whether a mask of Keras came with it.
    place
        Its place among several tensors, by which a captured input is named, where it has
        no other name.
    derivation
        How it was computed, where it is neither a layer's output nor an input of the model
        (see `runner.capture.derivations`); ``None`` where that is not known.
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
        Call path: the name of its output, and of each part of that up to the ``:``.
    wires
        The tensors that it was given, in the order of its arguments.
    settings
        Further arguments that are plain values: numbers, texts and lists of a few of them, a
        slice as ``{"slice": [start, stop, step]}``, an ellipsis as ``...``, and a constant of
        many numbers as ``{"shape": [...]}``.
    derivations
        How the outputs of a layer that is not Keras's own were computed, each by its place in
        a structured output, a plain one by an empty text (see `runner.capture.derivations`).
    """

    name: Name
    wires: tuple[Wire, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    derivations: dict[str, dict[str, Any]] = field(default_factory=dict)
