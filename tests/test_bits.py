"""The same run in other processes: threads and batches change no bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXPERIMENTS = ("digits_mlp", "digits_cnn", "lstm", "transformer")
CODE = """
import hashlib, json, sys
import runner

found = {}
for experiment in sys.argv[2:]:
    run = runner.run(f"experiment={experiment}", f"capture.batch_size={sys.argv[1]}")
    found[experiment] = {
        f"{tensor.kind} {tensor.name}": hashlib.sha256(
            run.array(tensor.name, tensor.kind).tobytes()
        ).hexdigest()
        for tensor in run.record.tensors
    }
print(json.dumps(found))
"""


def tensors(threads: int, batch_size: int, *experiments: str) -> dict[str, dict[str, str]]:
    """Return the hash of every tensor of experiments that a fresh process runs."""
    limits = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
    found = subprocess.run(
        [sys.executable, "-c", CODE, str(batch_size), *experiments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **dict.fromkeys(limits, str(threads))},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    same: dict[str, dict[str, str]] = json.loads(found.stdout.splitlines()[-1])
    return same


@pytest.mark.slow
def test_threads_and_batches_change_no_bit() -> None:
    alone = tensors(1, 256, *EXPERIMENTS)
    assert alone == tensors(4, 7, *EXPERIMENTS)
