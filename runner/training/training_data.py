"""Reads a probe into memory as training data, with the targets of the loss."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from runner.config.probe_config import SOURCES
from runner.errors import InputError
from runner.model.building import output_shape
from runner.probe.probe import Probe
from runner.probe.probe_hash import ProbeHasher
from runner.probe.targets import Targets

_KEYS = "|".join(sorted({key for source in SOURCES.values() for key in source.model_fields}))
# Matches the keys of a probe, but not a file named `probe.csv`.
_KEY = re.compile(rf"^probe(?=$|\.({_KEYS})\b)")
_KEY_INSIDE = re.compile(rf"\bprobe(?=\.({_KEYS})\b)")
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


def read_training_data(model: keras.Model, probe: Probe, place: str) -> TrainingData:
    """Read a probe to train a compiled model on.

    Parameters
    ----------
    model
        Compiled with one loss for its one output.
    probe
        Fitted to the model's inputs; read whole.
    place
        The configuration key, for messages: ``probe`` or ``train.data``.

    Raises
    ------
    InputError
        If its targets or labels do not fit the loss and the model's output.
    """
    with placed(place):
        [whole] = probe.batches(_ALL)
        targets = Targets(probe, model.loss, output_shape(model, whole.inputs)).of(whole)
    hasher = ProbeHasher()
    hasher.update(whole)
    compared = np.ascontiguousarray(targets)
    digest = hashlib.sha256(f"{compared.dtype.str} {compared.shape}\n".encode())
    digest.update(compared.tobytes())
    return TrainingData(probe.source, whole.inputs, targets, hasher.content(), digest.hexdigest())


@contextlib.contextmanager
def placed(place: str) -> Iterator[None]:
    """Replace the key in errors about a probe by the key under which it was chosen."""
    try:
        yield
    except InputError as error:
        raise InputError(
            replace(
                problem,
                place=_KEY.sub(place, problem.place, count=1),
                advice=_KEY_INSIDE.sub(place, problem.advice),
            )
            for problem in error.problems
        ) from error
