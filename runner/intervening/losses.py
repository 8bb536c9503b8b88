"""The losses of samples whose outputs were computed in several ways."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import numpy as np

from runner.capture.model_library import Targets
from runner.errors import InputError
from runner.probe.batch import Batch
from runner.showing.showing import Showing


class Losses:
    """The mean losses of the samples, where there is a loss, and targets for it.

    Parameters
    ----------
    showing
        A showing of the probe to the model.
    ways
        The number of ways in which the model's output is computed.
    """

    def __init__(self, showing: Showing, ways: int) -> None:
        self._model, self._loss = showing.model, showing.settings.loss
        self._library = showing.capture.library
        self._targets: Targets | None = None
        self._sums = [0.0] * ways
        self._samples = 0
        if len(showing.capture.returned) != 1:
            return
        with contextlib.suppress(InputError):  # there is no loss, or there are no targets
            inputs = next(iter(showing.probe.batches(1))).inputs
            self._targets = self._library.targets_of(self._model, showing.probe, inputs, self._loss)

    def targets(self, batch: Batch, row: int) -> np.ndarray | None:
        """Return the targets of a batch that begins at a row; ``None`` without targets."""
        if self._targets is not None:
            try:
                self._samples += len(batch.samples)
                return self._targets.of(batch, row)
            except InputError:  # they do not fit the loss
                self._targets, self._samples = None, 0
        return None

    def add(self, way: int, targets: np.ndarray | None, outputs: Sequence[np.ndarray]) -> None:
        """Add the losses of a batch, given what the model returned in one of the ways."""
        if targets is not None:
            total = self._library.total_loss(self._model, self._loss, targets, outputs[0])
            self._sums[way] += total

    def mean(self, way: int) -> float | None:
        """Return the mean loss of one of the ways; ``None`` without targets."""
        return self._sums[way] / self._samples if self._samples else None
