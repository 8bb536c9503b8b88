"""The targets of a loss, from the targets or labels of a probe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from runner.config import catalogue
from runner.errors import InputError
from runner.probe.batch import Batch, is_text
from runner.probe.probe import Probe
from runner.tensors import shape_text

# Losses of Keras that compare class indices with a value per class, and losses whose targets
# have special shapes.
_SPARSE = ("sparsecategoricalcrossentropy", "categoricalgeneralizedcrossentropy")
_OWN_SHAPES = ("ctc", "circle")


class Targets:
    """The targets of a loss, checked against the model's output.

    A loss on class indices (``SparseCategoricalCrossentropy``) takes the probe's labels if
    they are integers, else its targets; any other loss takes the targets, else integer
    labels.

    Parameters
    ----------
    probe
        Probe with the samples.
    loss
        Loss of the compiled model: an object, a function or a name.
    output
        Shape of the model's output for one sample; ``None`` for an axis of any length.
    dtype
        The dtype of floats that the loss computes with.

    Raises
    ------
    InputError
        If there is no loss, or the samples have neither targets nor labels.
    """

    def __init__(self, probe: Probe, loss: Any, output: Sequence[int | None], dtype: str) -> None:
        if loss is None:
            raise InputError.of(
                "model", "was not compiled with a loss", "compile it: model.compile(loss=...)"
            )
        if isinstance(loss, (list, tuple, dict)):
            raise InputError.of(
                "model", "has several losses, but gradients and training need exactly one"
            )
        self._probe = probe
        self._loss = name_of(loss)
        self._output = tuple(output)
        self._dtype = dtype
        folded = self._loss.replace("_", "").lower()
        self._sparse = folded in _SPARSE
        # The targets of custom losses are not known, and not checked.
        known = {name.replace("_", "").lower() for name in catalogue.load().names("losses")}
        self._checked = folded in known and folded not in _OWN_SHAPES
        self._ignored = getattr(loss, "ignore_class", None)
        if not probe.has_targets and not probe.has_labels:
            raise InputError.of(
                "probe",
                f"{probe.source} has neither targets nor labels for {self._loss}",
                "name a column of targets or labels, or use another probe",
            )

    def of(self, batch: Batch, row: int = 0) -> np.ndarray:
        """Return the targets of a batch that starts at a row.

        Returns
        -------
        numpy.ndarray
            Shape (sample, ...), as the loss compares it with the output.

        Raises
        ------
        InputError
            If the loss cannot compare them with the output, a label is not one of its classes, or
            its dtype cannot hold a target.
        """
        whole = batch.labels is not None and not is_text(batch.labels)
        if whole and (self._sparse or batch.targets is None):
            targets = batch.labels
        else:
            targets = batch.targets
        if targets is None or is_text(targets):
            raise InputError.of(
                "probe",
                f"{self._probe.source} has labels that are text, {self._loss} takes numbers",
                "number the classes from 0, and give the numbers as targets or labels",
            )
        if self._checked:
            self._check_shape(targets)
        if self._checked and self._sparse:
            self._check_classes(targets, row)
        self._check_range(targets, row)
        return targets

    def _check_shape(self, targets: np.ndarray) -> None:
        given, output = targets.shape[1:], self._output
        expected = output[:-1] if self._sparse else output
        if any(_fits(shape, expected) for shape in (given, (*given, 1), _without_last_one(given))):
            return
        advice = ""
        numbers = given in ((), (1,)) and not (targets.astype("int64") != targets).any()
        if not self._sparse and numbers and len(output) == 1:
            advice = "loss=sparse_categorical_crossentropy takes the number of a class"
        elif self._sparse and _fits(given, output):
            advice = "loss=categorical_crossentropy takes a value for each class"
        raise InputError.of(
            "loss",
            f"{self._loss} cannot compare targets of {shape_text(given)} "
            f"with an output of {shape_text(output)} values a sample",
            advice,
        )

    def _check_classes(self, targets: np.ndarray, row: int) -> None:
        classes = self._output[-1]
        known = targets == targets.astype("int64")
        if classes is not None:
            known &= (targets >= 0) & (targets < classes)
        if self._ignored is not None:
            known |= targets == self._ignored
        if known.all():
            return
        place = np.unravel_index(int(known.argmin()), known.shape)
        expected = "an integer"
        if classes is not None:
            expected = f"one of the output's {classes} classes, 0 to {classes - 1}"
        raise self._probe.mistake(row + int(place[0]), f"label {targets[place]} is not {expected}")

    def _check_range(self, targets: np.ndarray, row: int) -> None:
        if targets.dtype.kind != "f":
            return
        with np.errstate(over="ignore"):
            wrong = np.isinf(targets.astype(self._dtype, copy=False)) & np.isfinite(targets)
        if wrong.any():
            place = tuple(map(int, np.unravel_index(wrong.argmax(), wrong.shape)))
            column = f"column {', '.join(map(str, place[1:]))}" if place[1:] else ""
            found, advice = f"found {targets[place]}", f"it is too large for {self._dtype}"
            raise self._probe.mistake(row + place[0], found, advice, "target", column)


def name_of(loss: Any) -> str:
    """Return the name of a loss: of its class or function, or the given name."""
    if isinstance(loss, str):
        return loss
    return str(getattr(loss, "__name__", type(loss).__name__))


def _without_last_one(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[:-1] if shape[-1:] == (1,) else shape


def _fits(shape: Sequence[int], expected: Sequence[int | None]) -> bool:
    return len(shape) == len(expected) and all(
        wanted is None or found == wanted for found, wanted in zip(shape, expected, strict=True)
    )
