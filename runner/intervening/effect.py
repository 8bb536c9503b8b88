"""What changes in an output of a model, batch by batch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from runner.config.effects_config import By
from runner.probe.batch import Batch, is_text
from runner.record.effect_record import EffectRecord

_LEAST = 1e-12  # smaller probabilities count as this
_SUM = 1e-3  # from 1, of probabilities


Part = tuple[By, str]
"""A part of the samples: those of one class, or one sample."""


def keys_of(batch: Batch, by: Sequence[By]) -> dict[By, np.ndarray]:
    """Return the labels or ids by which the samples of a batch are grouped, of shape (sample,)."""
    known: dict[By, np.ndarray | None] = {"class": batch.labels, "sample": batch.samples}
    return {one: keys for one in by if (keys := known[one]) is not None}


class Unchanged:
    """An output of some samples without interventions, with which others are compared.

    Parameters
    ----------
    values
        The output, of shape (sample, ...), its last axis the units.
    labels
        The labels of the samples, of shape (sample,), if they have any.
    clean
        The output that changes may restore, of the same shape, if there is one.
    keys
        Labels or ids by which the samples are grouped, each of shape (sample,).
    logits
        Two units, the difference of whose logits is measured.

    Attributes
    ----------
    values, logits
        As given; the values in float64.
    rows : numpy.ndarray
        The values, of shape (row, unit).
    scratch : numpy.ndarray
        Memory of the same shape as `values`, for any use.
    labels : numpy.ndarray or None
        As given, if they number the units of a row for each sample.
    way : numpy.ndarray or None
        The way to the output that changes may restore: its values minus these.
    """

    def __init__(
        self,
        values: np.ndarray,
        labels: np.ndarray | None,
        clean: np.ndarray | None = None,
        keys: Mapping[By, np.ndarray] | None = None,
        logits: Sequence[int] | None = None,
    ) -> None:
        self._given = values, labels, clean
        self._keys = keys or {}
        self.values = values.astype(np.float64)
        self.scratch = np.empty_like(self.values)
        units = values.shape[-1] if values.ndim > 1 else 1
        self.rows = self.values.reshape(-1, units)
        self.logits = None if logits is None or max(logits) >= units else logits
        self.way = None if clean is None else clean.astype(np.float64) - self.values
        self.labels = None
        if labels is not None and not is_text(labels) and len(labels) == len(self.rows):
            self.labels = labels if ((labels >= 0) & (labels < units)).all() else None

    @cached_property
    def parts(self) -> list[tuple[Part, np.ndarray, Unchanged]]:
        """The groups of the samples: what each has in common, its rows, and its output."""
        found = []
        for by, keys in self._keys.items():
            for key in dict.fromkeys(keys.tolist()):
                rows = np.flatnonzero(keys == key)
                values, labels, clean = (
                    None if array is None else array[rows] for array in self._given
                )
                assert values is not None
                one = Unchanged(values, labels, clean, logits=self.logits)
                found.append(((by, str(key)), rows, one))
        return found

    @cached_property
    def best(self) -> np.ndarray:
        """The unit with the largest value, of shape (row,)."""
        best: np.ndarray = self.rows.argmax(axis=1)
        return best

    @cached_property
    def holds_probabilities(self) -> bool:
        """Whether each row holds probabilities."""
        return _are_probabilities(self.rows)

    @cached_property
    def negative_entropy(self) -> float:
        """The sum of ``p log p``."""
        return float((self.rows * np.log(np.maximum(self.rows, _LEAST))).sum())

    @cached_property
    def to_restore(self) -> float:
        """The square of the length of the way to the output that changes may restore."""
        return 0.0 if self.way is None else float((self.way**2).sum())

    @cached_property
    def logit_difference(self) -> float:
        """The difference of the logits of two units, summed over the samples."""
        return self.logit_difference_of(self.rows)

    def logit_difference_of(self, rows: np.ndarray) -> float:
        """Return the same of another output, of shape (row, unit)."""
        assert self.logits is not None
        each = len(rows) // max(1, len(self.values))  # positions of a sample
        one, other = rows[each - 1 :: each, list(self.logits)].T.astype(np.float64)
        if self.holds_probabilities:  # the logits of which are known but for a constant
            one, other = (np.log(np.maximum(values, _LEAST)) for values in (one, other))
        return float((one - other).sum())


@dataclass
class Effect:
    """The effect on one output, over the samples added so far.

    Attributes
    ----------
    output
        Its name.
    parts
        The effects on parts of the samples.
    """

    output: str
    _samples: int = 0
    _values: int = 0
    _rows: int = 0
    _sum: float = 0.0
    _largest: float = 0.0
    _divergence: float = 0.0
    _are_probabilities: bool = True
    _flipped: int = 0
    _right_before: int = 0
    _right: int = 0
    _are_labelled: bool = True
    _has_logits: bool = True
    _logits_before: float = 0.0
    _logits: float = 0.0
    _restored: float = 0.0
    _to_restore: float = 0.0
    parts: dict[Part, Effect] = field(default_factory=dict)

    def add(self, before: Unchanged, after: np.ndarray) -> None:
        """Add samples, given the output without and with interventions."""
        for part, rows, unchanged in before.parts:
            self.parts.setdefault(part, Effect(self.output)).add(unchanged, after[rows])
        if after.dtype != np.float32:
            after = after.astype(np.float64)
        with np.errstate(invalid="ignore"):  # the difference of infinite values
            change = np.subtract(after, before.values, out=before.scratch)
        if before.way is not None:
            self._restored += float((change * before.way).sum())
            self._to_restore += before.to_restore
        np.abs(change, out=change)
        self._samples += len(after)
        self._values += change.size
        self._sum += float(change.sum())
        if change.size:
            self._largest = float(np.maximum(self._largest, change.max()))  # NaN stays NaN
        after = after.reshape(before.rows.shape)
        self._rows += len(after)
        best = after.argmax(axis=1)
        self._flipped += int((before.best != best).sum())
        self._add_divergence(before, after)
        if before.logits is None:
            self._has_logits = False
        else:
            self._logits_before += before.logit_difference
            self._logits += before.logit_difference_of(after)
        if before.labels is None:
            self._are_labelled = False
        else:
            self._right_before += int((before.best == before.labels).sum())
            self._right += int((best == before.labels).sum())

    def part_records(self, **place: Any) -> Iterator[tuple[Part, EffectRecord]]:
        """Yield the effects on parts of the samples, without losses."""
        for part, effect in self.parts.items():
            yield part, effect.record(None, None, **place)

    def record(
        self,
        loss_before: float | None,
        loss: float | None,
        **place: Any,
    ) -> EffectRecord:
        """Return the effect, given the mean losses of the samples, and what was changed."""
        several = self._rows > 0 and self._units > 1
        probable = several and self._are_probabilities
        accurate = several and self._are_labelled
        return EffectRecord(
            **place,
            output=self.output,
            samples=self._samples,
            mean_abs=_finite(self._sum / max(1, self._values)),
            max_abs=_finite(self._largest),
            kl=_finite(self._divergence / self._rows) if probable else None,
            flipped=self._flipped / self._rows if several else None,
            accuracy_before=self._right_before / self._samples if accurate else None,
            accuracy=self._right / self._samples if accurate else None,
            restored=_finite(self._restored / self._to_restore) if self._to_restore else None,
            logit_difference_before=self._per_sample(self._logits_before),
            logit_difference=self._per_sample(self._logits),
            loss_before=_finite(loss_before),
            loss=_finite(loss),
        )

    def _per_sample(self, logits: float) -> float | None:
        return _finite(logits / self._samples) if self._has_logits and self._samples else None

    @property
    def _units(self) -> int:
        return self._values // max(1, self._rows)

    def _add_divergence(self, before: Unchanged, after: np.ndarray) -> None:
        """Add the divergence of the rows, as long as all of them hold probabilities."""
        fits = before.holds_probabilities and self._are_probabilities
        self._are_probabilities = fits and _are_probabilities(after)
        if self._are_probabilities:
            logs = before.scratch.reshape(after.shape)
            np.log(np.maximum(after, _LEAST, out=logs, dtype=np.float64), out=logs)
            crossed = np.multiply(before.rows, logs, out=logs)
            self._divergence += before.negative_entropy - float(crossed.sum())


def _are_probabilities(rows: np.ndarray) -> bool:
    with np.errstate(invalid="ignore", over="ignore"):
        sums = rows.sum(axis=1, dtype=np.float64)
        return bool((np.abs(sums - 1) <= _SUM).all() and (not rows.size or rows.min() >= 0))


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None
