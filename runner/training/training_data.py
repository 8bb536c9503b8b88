"""Reads a probe into memory as training data, with the targets of the loss."""

from __future__ import annotations

import contextlib
import hashlib
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from runner.errors import InputError
from runner.model.building import output_shape
from runner.probe.probe import Probe
from runner.probe.probe_hash import ProbeHasher
from runner.probe.source import ProbeSource
from runner.probe.targets import Targets
from runner.sizes import free_memory, readable

# Larger than any number of samples: the whole probe is one batch.
_ALL = 2**62


@dataclass(frozen=True)
class TrainingData:
    """Samples in memory, as passed to ``fit``.

    Attributes
    ----------
    source
        The source of the data, as one line.
    inputs
        Inputs of the model: an array of shape (sample, ...), or a mapping or list of arrays.
    targets
        Shape (sample, ...).
    """

    source: str
    inputs: Any
    targets: np.ndarray
    sha256: str
    targets_sha256: str

    @property
    def rows(self) -> int:
        """Number of samples."""
        return len(self.targets)

    @property
    def facts(self) -> dict[str, Any]:
        """The fields of `runner.record.training_record.TrainingRecord` about the data."""
        return {
            "data": self.source,
            "rows": self.rows,
            "sha256": self.sha256,
            "targets_sha256": self.targets_sha256,
        }


def read_training_data(model: keras.Model, probe: Probe, own: ProbeSource | None) -> TrainingData:
    """Read a probe to train a compiled model on.

    Parameters
    ----------
    model
        Compiled with one loss for its one output.
    probe
        Fitted to the model's inputs; read whole.
    own
        What ``train.data`` configures; ``None`` if the probe itself is trained on.

    Raises
    ------
    InputError
        If its targets or labels do not fit the loss and the model's output, or it does not fit
        into the free memory of this machine.
    """
    with placed(own):
        _check_fits(probe)
        [whole] = probe.batches(_ALL)
        output = output_shape(model, whole.inputs)
        targets = Targets(probe, model.loss, output, keras.config.floatx()).of(whole)
    hasher = ProbeHasher()
    hasher.update(whole)
    compared = np.ascontiguousarray(targets)
    digest = hashlib.sha256(f"{compared.dtype.str} {compared.shape}\n".encode())
    digest.update(compared.tobytes())
    return TrainingData(probe.source, whole.inputs, targets, hasher.content(), digest.hexdigest())


def _check_fits(probe: Probe) -> None:
    sample = sum(
        math.prod(axis or 1 for axis in spec.shape) * (4 if "float" in spec.dtype else 1)
        for spec in probe.inputs
    )
    size, memory = (probe.rows or 0) * sample, free_memory()
    if memory is not None and size > memory:
        raise InputError.of(
            "probe",
            f"training reads {readable(size)} into memory, and this machine has {readable(memory)} "
            "of free memory",
            "give fewer samples",
        )


@contextlib.contextmanager
def placed(own: ProbeSource | None) -> Iterator[None]:
    """Replace the key ``probe`` in errors about a probe of ``train.data``."""
    try:
        yield
    except InputError as error:
        if own is None:
            raise
        # Not a file that is called `probe.csv`.
        keys = "|".join(type(own).model_fields)
        raise InputError(
            replace(
                problem,
                place=re.sub(rf"^probe(?=$|\.({keys})\b)", "train.data", problem.place),
                advice=re.sub(rf"\bprobe(?=\.({keys})\b)", "train.data", problem.advice),
            )
            for problem in error.problems
        ) from error
