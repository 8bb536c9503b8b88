"""Replaces attributes of classes and modules inside a scope."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def patched(owner: Any, **replacements: Any) -> Iterator[None]:
    """Replace attributes of a class or module inside the scope.

    An attribute that a class inherits is removed afterwards, not assigned: an assigned one would
    hide later changes of the class that it comes from.
    """
    own = {name: vars(owner)[name] for name in replacements if name in vars(owner)}
    for name, value in replacements.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for name in replacements:
            if name in own:
                setattr(owner, name, own[name])
            else:
                delattr(owner, name)
