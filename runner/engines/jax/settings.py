"""JAX's settings, which go into the record of a run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import jax

from runner.engines.jax.tracing import COMPILER_OPTIONS
from runner.engines.settings import Backend


def start() -> None:
    """Initialize JAX's devices, which may write log lines."""
    jax.devices()


def read_settings() -> Backend:
    """Return the settings of JAX."""
    flags = [os.environ.get("XLA_FLAGS", "")]
    flags += [f"--{name}={value}" for name, value in COMPILER_OPTIONS.items()]
    kinds = dict.fromkeys(device.device_kind for device in jax.devices())
    return Backend(
        name="jax",
        deterministic=_is_deterministic(flags[0]),
        version=jax.__version__,
        devices=tuple(kinds),
        precision=str(jax.config.jax_default_matmul_precision or "default"),
        xla_flags=" ".join(filter(None, flags)),
    )


def _is_deterministic(flags: str) -> bool | None:
    """Return what XLA's flags for GPUs say; ``None`` if none of them is given."""
    names = ("xla_gpu_deterministic_ops", "xla_gpu_exclude_nondeterministic_ops")
    given = [flag for flag in flags.split() if any(name in flag for name in names)]
    return None if not given else not given[-1].casefold().endswith(("=false", "=0"))


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """Do nothing: JAX is told by its flags, before it begins, to use deterministic operations."""
    yield
