"""All reductions of activations by name: those of `runner.reductions`, and of other packages."""

from __future__ import annotations

from typing import Any

from runner.capture.arithmetic import Arithmetic, LackingError
from runner.capture.reduction import OfFlattened, OverPositions, Reduction
from runner.config.options import options_in
from runner.errors import InputError, suggest
from runner.registry import Registry
from runner.tensors import unit_axis_of


def _is_reduction(value: Any) -> bool:
    is_class = isinstance(value, type) and issubclass(value, Reduction)
    return is_class and value not in (Reduction, OverPositions, OfFlattened)


REDUCTIONS: Registry[type[Reduction]] = Registry(
    "runner.reductions", "capture.reduce", _is_reduction
)
"""All reductions, by the names that ``capture.reduce`` takes; ``none`` stands for no reduction."""


def described() -> str:
    """Return the values that ``capture.reduce`` takes, in Markdown; without other packages."""
    own = sorted((REDUCTIONS[name].order, name) for name in REDUCTIONS.own)
    over = [f"`{name}`" for _, name in own if issubclass(REDUCTIONS[name], OverPositions)]
    parts = [f"{', '.join(over[:-1])} or {over[-1]} over space or time"]
    for _, name in own:
        if issubclass(REDUCTIONS[name], OfFlattened):
            note = REDUCTIONS[name].note
            parts.append(f"`{_example(name)}`" + (f" ({note})" if note else ""))
    return f"{', '.join(parts)}, or `none`"


def reduction_of(text: str) -> Reduction | None:
    """Return the reduction that a value of ``capture.reduce`` names; ``None`` for ``none``.

    Raises
    ------
    InputError
        If there is no such reduction, or it has no such option or value of it.
    """
    name = text.partition(":")[0]
    if text == "none":
        return None
    if name not in REDUCTIONS:
        known = [*map(_example, REDUCTIONS), "none"]
        advice = suggest(text, known) or f"there are {', '.join(known)}"
        raise InputError.of("", f"unknown reduction '{text}'", advice)
    return options_in(text, REDUCTIONS[name])


def reduced(activation: Any, reduction: str, name: str, unit_axis: int, ops: Arithmetic) -> Any:
    """Reduce one activation.

    Parameters
    ----------
    activation
        Tensor of shape (sample, *axes).
    reduction
        A name in `REDUCTIONS`, with its options.
    name
        The tensor's name.
    unit_axis
        Index of the unit axis of a sample, from 0.
    ops
        The operations of its library.

    Returns
    -------
    tensor
        Of rank 2; a tensor without axes to reduce over is returned unchanged.

    Raises
    ------
    InputError
        If the library does not have an operation of the reduction.
    """
    found = reduction_of(reduction)
    assert found is not None
    try:
        return found.reduced(activation, unit_axis, ops, name)
    except LackingError as error:
        message = f"'{reduction}' {error}"
        advice = "choose another reduction for them"
        raise InputError.of("capture.reduce", message, advice) from error


def reduced_axes(axes: tuple[str, ...] | None, reduction: str | None) -> tuple[str, ...] | None:
    """Return the names of a tensor's axes after a reduction, given those before it."""
    if reduction is None:
        return axes
    if isinstance(reduction_of(reduction), OfFlattened):
        return ("unit",)
    return axes and (axes[unit_axis_of(axes, len(axes))],)


def _example(name: str) -> str:
    example = REDUCTIONS[name].example
    return f"{name}:{example}" if example else name
