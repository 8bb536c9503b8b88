"""Layer paths: the position of every call in a model, the same in every pass."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from runner.model.keras_internals import sublayers


class CallPaths:
    """Assigns paths to layers as they are called during one forward pass.

    A path depends on the model alone. A layer that exists before the pass is identified by
    its own name. A layer made inside the pass would get another automatic name every time,
    since Keras numbers them per process; it is identified by its class and the number of
    layers of that class that its parent called before. The first ``Dense`` that ``block``
    makes is ``block/dense``, the second ``block/dense#2``, and a second call of ``block``
    makes the same paths again.
    """

    def __init__(self) -> None:
        self._made: dict[int, tuple[Any, str]] = {}
        self._owners: dict[tuple[str, str], Any] = {}
        self._segments: dict[tuple[str, Any], str] = {}
        self._made_owners: dict[tuple[int, int], Any] = {}
        self._made_counts: Counter[tuple[int, str]] = Counter()
        self._positions: Counter[tuple[str, str]] = Counter()
        self._indices: Counter[str] = Counter()

    def note_made(self, operation: Any, name: str | None) -> None:
        """Note an operation that is made during the pass.

        Parameters
        ----------
        operation
            The operation. It is kept alive during the pass, so that its identity is unique.
        name
            The name given to it; ``None`` if Keras assigns one.
        """
        self._made[id(operation)] = operation, name or _snake_case(type(operation).__name__)

    def is_made(self, operation: Any) -> bool:
        """Return whether an operation was made during the pass."""
        return id(operation) in self._made

    def place(self, operation: Any, parent: Any) -> tuple[str, str, int]:
        """Return the path of a call that begins.

        Parameters
        ----------
        operation
            The operation being called.
        parent
            The call that makes this call.

        Returns
        -------
        path, segment : str
            The layer's path, and its last segment.
        index : int
            Index of the call among those of the same path, from 0.
        """
        owner, name = id(operation), operation.name
        if self.is_made(operation):
            owner, name = self._owner_of_made(operation, parent)
        segment = self._segments.get((parent.layer_path, owner))
        if segment is None:
            segment = self._free(parent.layer_path, name, owner)
            self._segments[parent.layer_path, owner] = segment
        path = f"{parent.layer_path}/{segment}" if parent.layer_path else segment
        self._indices[path] += 1
        return path, segment, self._indices[path] - 1

    def _free(self, parent_path: str, name: str, owner: Any) -> str:
        """Return the first unused name of ``name``, ``name#2``, ``name#3``..."""
        segment, position = name, max(1, self._positions[parent_path, name])
        if position > 1:
            segment = f"{name}#{position}"
        while self._owners.setdefault((parent_path, segment), owner) != owner:
            position += 1
            segment = f"{name}#{position}"
        self._positions[parent_path, name] = position
        return segment

    def _owner_of_made(self, operation: Any, parent: Any) -> tuple[Any, str]:
        """Return a key of a made operation, the same in all calls of its parent, and its name."""
        _, name = self._made[id(operation)]
        key = id(parent), id(operation)
        if key not in self._made_owners:
            self._made_counts[id(parent), name] += 1
            self._made_owners[key] = name, self._made_counts[id(parent), name]
        owner = self._made_owners[key]
        # Layers of its class that the parent keeps are numbered first, whatever Keras named them.
        kept = sum(
            type(child) is type(operation) and not self.is_made(child)
            for child in sublayers(parent.operation)
            if re.fullmatch(rf"{re.escape(name)}(_\d+)?", child.name)
        )
        position = kept + owner[1]
        return owner, name if position == 1 else f"{name}#{position}"


def _snake_case(class_name: str) -> str:
    """Return the name that Keras derives from a class, without its number."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", class_name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
