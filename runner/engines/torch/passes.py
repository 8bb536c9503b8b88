"""A forward pass in PyTorch, which runs operation by operation."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

from runner.engines.engine import Found, Pass, Traced

lanes = 1
"""No number of rows keeps a sample's values the same bit for bit in every batch."""


def trace(
    forward: Callable[[list[Any], Any], Pass[Found]],  # noqa: ARG001
    values: list[Any],  # noqa: ARG001
    batch: Any,  # noqa: ARG001
) -> Traced[Found] | None:
    """Return ``None``: nothing is compiled."""
    return None


@contextlib.contextmanager
def exact() -> Iterator[None]:
    """Compute without gradients; operations never depend on which values are captured."""
    with torch.no_grad():
        yield


@contextlib.contextmanager
def watching(
    is_mine: Callable[[], bool],  # noqa: ARG001
    was_read: Callable[[Any], None],  # noqa: ARG001
) -> Iterator[None]:
    """Do nothing: functions that PyTorch would compile are left compiled."""
    yield
