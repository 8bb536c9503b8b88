"""Comparison of a run that was made in parts with the same run made whole."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pandas as pd

from runner.file_names import RECORD
from runner.runs.published_run import Run
from runner.sameness.verification import damage

IRIS = ("experiment=iris_mlp", "capture.batch_size=48")
OF_ONE_MAKING = ("run_id", "started", "ended", "seconds", "uptime", "fingerprint", "record_sha256")


def record_of(run: Run) -> dict[str, Any]:
    """What a record says of a run, but for its files and its times, and that it had parts."""
    with run.stored.open(RECORD) as file:
        record: dict[str, Any] = json.load(file)
    for key in OF_ONE_MAKING:
        del record[key]
    del record["config"]["parts"]
    record["files"] = sorted(record["files"])
    own = ("parts=", "hydra/launcher=")
    record["overrides"] = [word for word in record["overrides"] if not word.startswith(own)]
    for layer in record["layers"]:
        for tensor in layer["tensors"]:
            for key in ("bytes", "sha256", "parts"):
                del tensor[key]
            tensor["file"] = re.sub(r"^\.parts/\d+/|\.\w+$", "", tensor["file"])
    return record


def assert_same_run(one: Run, other: Run) -> None:
    """Assert that everything that can be read of two runs is the same, bit for bit."""
    assert record_of(one) == record_of(other)
    for tensor in one.record.tensors:
        arrays = (run.array(tensor.name, tensor.kind) for run in (one, other))
        np.testing.assert_array_equal(*arrays, strict=True)
    pd.testing.assert_frame_equal(one.probe, other.probe)
    summaries = one.summary, other.summary
    exact = [name for name in one.summary if name not in ("mean", "std")]
    pd.testing.assert_frame_equal(*(each[exact] for each in summaries))
    pd.testing.assert_frame_equal(*summaries, check_exact=False, rtol=1e-9)
    assert not [*damage(one), *damage(other)]
