"""What an error of a pass says, for frameworks that do not say which index it is about."""

from __future__ import annotations

import re


def message_of(error: Exception) -> str:
    """Return the message of an error, without Keras's colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()


def index_outside(error: Exception) -> tuple[int, int, int] | None:  # noqa: ARG001
    """Return ``None``: no error says which index it is about."""
    return None
