"""The tensors of a pass over a Keras model that changes replace by others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from runner.capture.arithmetic import Arithmetic
from runner.capture.call import Leaf, leaves, mapped
from runner.keras_models.tensors import is_tensor
from runner.model.keras_internals import copy_mask


class ChangedOfKeras:
    """The tensors of one pass (see `runner.capture.changing.ChangedTensors`)."""

    ops: Arithmetic = keras.ops

    def __init__(self) -> None:
        self._stands_for: dict[int, tuple[Any, Any]] = {}

    def is_tensor(self, value: Any) -> bool:
        """Return whether a value is a tensor."""
        return is_tensor(value)

    def mapped(self, change: Callable[[Any], Any], structure: Any) -> Any:
        """Return a structure with a function applied to its tensors."""
        return mapped(lambda leaf: change(leaf) if is_tensor(leaf) else leaf, structure)

    def leaves(self, structure: Any) -> list[Leaf]:
        """Return the leaves of a structure."""
        return leaves(structure)

    def take(self, changed: Any, own: Any, *, as_own: bool) -> None:
        """Give a tensor the mask of the one whose place it takes."""
        copy_mask(changed, own)
        if as_own:
            self._stands_for[id(changed)] = changed, own

    def own(self, given: list[Leaf]) -> list[Leaf]:
        """Return the inputs of a call, with the tensors that others were taken as."""
        return [(place, self._stands_for.get(id(one), (one, one))[1]) for place, one in given]

    def like(self, values: Any, tensor: Any) -> Any:
        """Return values in the dtype of a tensor."""
        return keras.ops.cast(values, keras.backend.standardize_dtype(tensor.dtype))
