"""PyTorch's settings, which go into the record of a run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch

from runner.engines.settings import Backend


def start() -> None:
    """Initialize PyTorch: what makes cuBLAS deterministic must be set before its first use."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def read_settings() -> Backend:
    """Return the settings of PyTorch."""
    gpus = [torch.cuda.get_device_name(place) for place in range(torch.cuda.device_count())]
    mkldnn = torch.backends.mkldnn
    return Backend(
        name="torch",
        intra_op_threads=torch.get_num_threads(),
        inter_op_threads=torch.get_num_interop_threads(),
        onednn=bool(mkldnn.is_available() and mkldnn.enabled),
        deterministic=torch.are_deterministic_algorithms_enabled(),
        version=torch.__version__,
        devices=("cpu", *dict.fromkeys(gpus)),
        precision=torch.get_float32_matmul_precision(),
    )


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """Allow only deterministic operations of PyTorch inside the scope."""
    before = torch.are_deterministic_algorithms_enabled()
    only_warns = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=only_warns)
