"""Warnings that name the line of the user's code that led to them."""

from __future__ import annotations

import sys
import warnings

_PASSED = ("runner", "hydra_plugins", "contextlib", "functools")
"""Packages whose frames are passed over: Runner's own, and those that call it for itself."""


def warn_caller(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line outside Runner from which it was called, however deep this call is."""
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and _is_passed(frame.f_globals.get("__name__")):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _is_passed(module: object) -> bool:
    return str(module).partition(".")[0] in _PASSED
