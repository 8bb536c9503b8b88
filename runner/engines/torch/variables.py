"""Variables of Keras on PyTorch, and parameters and buffers that Keras does not know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from runner.engines.torch.tensors import as_array, fits_a_table

plain_types: tuple[type, ...] = (torch.Tensor, torch.dtype, torch.device, torch.Size)
module_types: tuple[type, ...] = (torch.nn.Module,)
wrapping_types: tuple[type, ...] = ()

_OF_MODULES = ("_parameters", "_buffers", "_modules")
_OF_KERAS = ("_torch_params",)  # where Keras lists its own variables once more


def wrapped_by(thing: Any) -> list[Any]:  # noqa: ARG001
    """Return what a compiled function wraps: none of PyTorch's is looked into."""
    return []


def values_of(variables: Sequence[Any]) -> list[Any]:
    """Return the present values of Keras's variables as tensors without gradients."""
    return [variable.value.detach() for variable in variables]


def name_of(variable: Any) -> str:
    """Return the name of a variable: tensors have none."""
    return str(getattr(variable, "name", None) or "tensor")


def is_variable(value: Any) -> bool:
    """Return whether a value is a parameter or buffer of a module, unknown to Keras."""
    return isinstance(value, torch.Tensor)


def value_of(variable: Any) -> np.ndarray:
    """Return a copy of the value of a ``keras.Variable``, or of a parameter or buffer."""
    value = variable if is_variable(variable) else variable.value
    return np.array(as_array(value))


def unfit_weight(variable: Any) -> str | None:
    """Return why a variable has no table, or ``None``."""
    value = variable if is_variable(variable) else variable.value
    return None if fits_a_table(value) else f"opaque: it is of type {value.dtype}"


def plain_variables(
    attributes: Mapping[Any, Any], seen: set[int], prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    """Yield the parameters and buffers in an object's attributes, each once, with their names."""
    for key, value in attributes.items():
        if key in _OF_KERAS or id(value) in seen:
            continue
        name = f"{prefix}{key}"
        if key in _OF_MODULES:  # their names are those of attributes
            own = {below: one for below, one in value.items() if below not in _OF_KERAS}
            yield from plain_variables(own, seen, prefix)
        elif is_variable(value):
            seen.add(id(value))
            yield name, value
        elif (below := _held_by(value)) is not None:
            seen.add(id(value))
            yield from plain_variables(below, seen, f"{name}.")


def _held_by(value: Any) -> Mapping[Any, Any] | None:
    """Return the contents of a container, or of a module that is no layer of Keras, by name."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, (list, tuple)):
        return dict(enumerate(value))
    is_module = isinstance(value, torch.nn.Module) and not hasattr(value, "get_config")
    return vars(value) if is_module else None
