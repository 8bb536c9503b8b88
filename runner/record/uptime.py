"""How long the machine has been running, which orders runs even if the clock is set back."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from runner.bounds import Seconds, spelled

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Uptime:
    """The time since the machine was started.

    Attributes
    ----------
    boot
        Hash of the random id that Linux draws at every start.
    seconds
        Seconds since then, without the time in which the machine was suspended.
    """

    boot: Annotated[str, spelled(r"^[0-9a-f]{16}$", "16 hexadecimal digits")]
    seconds: Seconds

    @classmethod
    def at(cls, monotonic: float) -> Uptime | None:
        """Return the time since the start at a value of `time.monotonic`, if it is known."""
        boot = _boot()
        return None if boot is None else cls(boot, monotonic)


@functools.cache
def _boot() -> str | None:
    try:
        return hashlib.sha256(_BOOT_ID.read_bytes().strip()).hexdigest()[:16]
    except OSError:  # not Linux
        return None
