"""The training data: a probe read into memory, with the targets of the loss."""

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
# The keys of a probe, but no file that is called `probe.csv`.
_KEY = re.compile(rf"^probe(?=$|\.({_KEYS})\b)")
_KEY_INSIDE = re.compile(rf"\bprobe(?=\.({_KEYS})\b)")
# More samples than there are: the whole probe is one batch.
_ALL = 2**62


@dataclass(frozen=True)
class TrainingData:
    """Samples in memory, as ``fit`` takes them.

    Attributes
    ----------
    source
        Their source, in one line.
    inputs
        What the model is called on: an array of shape (sample, ...), or a mapping or
        list of such.
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
        The key that it comes from, for messages: ``probe`` or ``train.data``.

    Raises
    ------
    InputError
        If the loss cannot compare its targets or labels with the model's output.
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
    """Say of problems with a probe under which key it was chosen."""
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
