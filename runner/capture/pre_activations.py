"""What goes into the activation functions of layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from runner.capture.calls import Call, Observer


class PreActivations(Observer):
    """Notes what each layer's ``activation`` is called on.

    The function stands in the layer for the length of a call alone. An activation that is a
    layer itself is seen by its own call.
    """

    def __init__(self) -> None:
        self._open: list[tuple[Callable[..., Any] | None, list[tuple[Any, Any]]]] = []

    def began(self, call: Call) -> None:
        """Put a function that takes notes in place of the layer's own."""
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
        """Keep what went in, where the layer returns what came out."""
        seen = self._put_back(call)
        if len(seen) == 1 and seen[0][1] is returned:
            call.pre_activation = seen[0][0]
        return returned

    def failed(self, call: Call) -> None:
        """Put the layer's own function back."""
        self._put_back(call)

    def _put_back(self, call: Call) -> list[tuple[Any, Any]]:
        activation, seen = self._open.pop()
        if activation is not None:
            call.operation.activation = activation
        return seen
