"""The positions of the random streams that Python and NumPy share in a process."""

from __future__ import annotations

import ctypes
import random
from typing import Any

import numpy as np

Positions = tuple[Any, Any]

_BYTES_OF_MT19937 = 4 * (624 + 1)
_last: tuple[bytes, Any] = (b"", None)


def positions() -> Positions:
    """Return the present positions of both streams."""
    return random.getstate(), _numpys()


def set_positions(wanted: Positions) -> None:
    """Move both streams to earlier positions."""
    global _last
    python, numpy = wanted
    random.setstate(python)
    if _numpys() is not numpy:
        np.random.set_state(numpy)
        _last = b"", None


def are_equal(one: Positions, other: Positions) -> bool:
    """Return whether no stream has moved between two positions."""
    numpy, others = one[1], other[1]
    return one[0] == other[0] and (
        numpy is others or (np.array_equal(numpy[1], others[1]) and numpy[2:] == others[2:])
    )


def _numpys() -> Any:
    """Return the position of NumPy's stream: the same object where it has not moved.

    NumPy takes some 50 microseconds to tell it, so that it is asked only if the generator's memory
    has changed, or if one of a pair of normal numbers waits outside that memory to be drawn.
    """
    global _last
    generator = np.random.get_bit_generator()  # type: ignore[attr-defined]
    if type(generator) is not np.random.MT19937:
        return np.random.get_state()
    memory = ctypes.string_at(generator.ctypes.state_address, _BYTES_OF_MT19937)
    known, position = _last
    if memory != known or position[3]:
        position = np.random.get_state()
        _last = memory, position
    return position
