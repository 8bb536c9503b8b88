"""The inputs of the activation functions of layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from runner.capture.call import Call, Observer


class PreActivations(Observer):
    """Notes the input of each layer's ``activation``.

    The layer's function is replaced for the length of a call. An activation that is a layer
    itself is recorded by its own call.
    """

    def __init__(self) -> None:
        self._open: list[tuple[Callable[..., Any] | None, list[tuple[Any, Any]]]] = []

    def began(self, call: Call) -> None:
        """Replace the layer's function by one that records its input."""
        layer, seen = call.operation, list[tuple[Any, Any]]()
        activation = vars(layer).get("activation")
        if not callable(activation) or isinstance(activation, keras.Layer):
            self._open.append((None, seen))
            return

        def watched(value: Any, *args: Any, **kwargs: Any) -> Any:
            result = activation(value, *args, **kwargs)
            seen.append((value, result))
            return result

        self._open.append((activation, seen))
        layer.activation = watched

    def ended(self, call: Call, returned: Any) -> Any:
        """Keep the input if the layer returns the function's result."""
        seen = self._put_back(call)
        if len(seen) == 1 and seen[0][1] is returned:
            call.pre_activation = seen[0][0]
        return returned

    def failed(self, call: Call) -> None:
        """Restore the layer's own function."""
        self._put_back(call)

    def _put_back(self, call: Call) -> list[tuple[Any, Any]]:
        activation, seen = self._open.pop()
        if activation is not None:
            call.operation.activation = activation
        return seen
