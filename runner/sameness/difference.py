"""The differences between two runs, tensor by tensor in call order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from runner.errors import InputError, Problem
from runner.record.layer_record import TensorRecord
from runner.record.record import RunRecord
from runner.runs.configs import flat_config
from runner.runs.locate import open_run
from runner.runs.published_run import Run
from runner.runs.same_probe import check_probes
from runner.sameness.distance import Distance, distance_of

# Default tolerance per dtype: the differences that another order of operations can cause.
TOLERANCES = {"float16": 1e-2, "bfloat16": 5e-2, "float32": 1e-5, "float64": 1e-12}

_ABOUT = ("kind", "layer_class", "shape", "dtype")
"""What is told of a tensor besides its name."""

Alignment = Literal["name", "order"]


@dataclass(frozen=True, kw_only=True)
class TensorDifference(Distance):
    """The difference of one tensor between two runs, with the distance of its values.

    Attributes
    ----------
    kind, tensor, layer_class, shape, dtype
        As in the first run.
    sample, unit
        Sample and unit of the largest difference.
    why
        Reason why the values cannot be compared; ``None`` if they can.
    """

    kind: str
    tensor: str
    layer_class: str
    shape: tuple[int, ...]
    dtype: str
    sample: Any = None
    unit: str | None = None
    why: str | None = None


@dataclass(frozen=True)
class Difference:
    """The differences between two runs.

    Attributes
    ----------
    a, b
        The runs.
    tensors
        Differences of all tensors of either run, in call order.
    facts
        Differences between the records: each a key and its two values.
    exact
        Whether only bit-for-bit identical values count as the same.
    """

    a: Run
    b: Run
    tensors: tuple[TensorDifference, ...]
    facts: tuple[tuple[str, Any, Any], ...]
    exact: bool = False

    @property
    def frame(self) -> pd.DataFrame:
        """The differences as a data frame, a row per tensor."""
        rows = [dict.fromkeys(("tensor", *_ABOUT)) | vars(t) for t in self.tensors]
        return pd.DataFrame(rows).drop(columns="place", errors="ignore")

    @property
    def first(self) -> TensorDifference | None:
        """The first tensor in call order whose bits differ, not counting weights."""
        return next((t for t in self.tensors if not t.bitwise and t.kind != "weight"), None)

    @property
    def same(self) -> bool:
        """Whether all tensors are the same: within the tolerance, or bit for bit if `exact`."""
        return all(t.bitwise if self.exact else t.within for t in self.tensors)


def diff(
    a: Run | str | Path,
    b: Run | str | Path,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    exact: bool = False,
    align: Alignment = "name",
) -> Difference:
    """Compare two runs on the same probe, value by value.

    Values x and y are within the tolerance if ``|x - y| <= rtol |x| + atol s``, with s the
    layer's scale, its largest finite absolute value in `a`.

    Parameters
    ----------
    a, b
        Runs, or any argument of `runner.open_run`.
    rtol, atol
        Relative and absolute tolerance; the default depends on the dtype (float32: 1e-5).
    exact
        Whether only bit-for-bit identical values count as the same.
    align
        How to pair tensors: by ``name``, or by ``order`` if layers were renamed.

    Raises
    ------
    InputError
        If a run cannot be read or failed, the probes differ, or a tolerance is not a finite
        number of at least 0.
    """
    _check_tolerance(rtol=rtol, atol=atol)
    one, other = (run if isinstance(run, Run) else open_run(run) for run in (a, b))
    check_probes(one, other)
    differences = []
    for mine, theirs in _pairs(one.record, other.record, align):
        known = mine or theirs
        assert known is not None
        about = {key: getattr(known, key) for key in _ABOUT} | {"tensor": known.name}
        if mine is None or theirs is None:
            lacking = one if mine is None else other
            differences.append(TensorDifference(**about, why=f"run {lacking.id} has none"))
        elif mine.shape != theirs.shape:
            why = f"shape {list(mine.shape)} and {list(theirs.shape)}"
            differences.append(TensorDifference(**about, why=why))
        else:
            tolerance = max(TOLERANCES.get(t.dtype, 0.0) for t in (mine, theirs))
            found = _compared(
                (one, mine),
                (other, theirs),
                tolerance if rtol is None else rtol,
                tolerance if atol is None else atol,
            )
            differences.append(TensorDifference(**about, **found))
    facts = tuple(_facts(one.record, other.record))
    return Difference(one, other, tuple(differences), facts, exact)


def _check_tolerance(**given: float | None) -> None:
    wrong = [
        Problem(name, f"expected a finite number of at least 0, found {value}")
        for name, value in given.items()
        if value is not None and not 0 <= value < np.inf
    ]
    if wrong:
        raise InputError(wrong)


def assert_same(a: Run | str | Path, b: Run | str | Path, **how: Any) -> None:
    """Check in a test that two runs are the same, raise AssertionError otherwise.

    Parameters
    ----------
    a, b, **how
        As in `diff`.

    Raises
    ------
    AssertionError
        If they differ; names the first differing tensor and the place in it.
    InputError
        As in `diff`.
    """
    found = diff(a, b, **how)
    if found.same:
        return
    wrong = next(t for t in found.tensors if not (t.bitwise if found.exact else t.within))
    where = wrong.why or (
        f"max difference {wrong.max_abs:.3g} ({wrong.max_relative:.3g} of its scale) "
        f"at sample {wrong.sample}, {wrong.unit}"
    )
    raise AssertionError(f"runs {found.a.id} and {found.b.id} differ in {wrong.tensor}: {where}")


def _pairs(
    a: RunRecord, b: RunRecord, align: Alignment
) -> Iterator[tuple[TensorRecord | None, TensorRecord | None]]:
    """Yield pairs of tensors of two runs, in the call order of the first run."""
    mine, theirs = (
        sorted((t for t in record.tensors if t.alias_of is None), key=lambda t: t.order)
        for record in (a, b)
    )
    if align == "order":
        kinds = dict.fromkeys(t.kind for t in (*mine, *theirs))
        for kind in kinds:
            own, other = ([t for t in tensors if t.kind == kind] for tensors in (mine, theirs))
            for place in range(max(len(own), len(other))):
                yield (
                    own[place] if place < len(own) else None,
                    other[place] if place < len(other) else None,
                )
        return
    named = {(t.kind, t.name): t for t in theirs}
    for tensor in mine:
        yield tensor, named.pop((tensor.kind, tensor.name), None)
    for tensor in named.values():
        yield None, tensor


def _compared(
    a: tuple[Run, TensorRecord], b: tuple[Run, TensorRecord], rtol: float, atol: float
) -> dict[str, Any]:
    """Return how a tensor's values differ between two runs, as fields of TensorDifference."""
    run, spec = a
    read = [partial(run.blocks, tensor.name, tensor.kind) for run, tensor in (a, b)]
    found = distance_of(read[0], read[1], rtol, atol)
    facts = dict(vars(found))
    if found.place is not None:
        rows = len(run.samples) if spec.per_sample else None
        worst = np.unravel_index(found.place, spec.shape if rows is None else (rows, *spec.shape))
        facts["sample"] = None if rows is None else run.samples[worst[0]]
        facts["unit"] = "u" + "_".join(map(str, worst if rows is None else worst[1:]))
    return facts


def _facts(a: RunRecord, b: RunRecord) -> Iterator[tuple[str, Any, Any]]:
    """Yield the differences between two records, except facts that are unique to every run."""
    left, right = (dict(flat_config(_told(record))) for record in (a, b))
    for key in dict.fromkeys((*left, *right)):
        if left.get(key) != right.get(key):
            yield key, left.get(key), right.get(key)


def _told(record: RunRecord) -> dict[str, Any]:
    told = {
        "seed": record.seed,
        "seeding": record.seeding,
        "config": {
            key: value for key, value in record.config.items() if key not in ("name", "seed")
        },
        "environment": vars(record.environment),
        "backend": record.backend and vars(record.backend),
        "format": record.format,
    }
    plain = json.loads(json.dumps(told, default=vars))
    assert isinstance(plain, dict)
    return plain
