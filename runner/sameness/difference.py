"""The differences between two runs, tensor by tensor in call order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from runner.errors import InputError, Problem
from runner.local_paths import local_path
from runner.record.layer_record import TensorRecord
from runner.runs.locate import open_run
from runner.runs.published_run import Run
from runner.runs.real_weights import RealWeights
from runner.runs.same_probe import check_probes
from runner.sameness.distance import TOLERANCES, Distance, distance_of
from runner.sameness.error_table import ErrorTable
from runner.sameness.facts import differing_facts
from runner.sameness.measured_errors import judged, measured_between
from runner.sameness.pairing import paired
from runner.sameness.quantized_weights import of_quantized
from runner.sameness.rearrangement import Rearrangement
from runner.tensors import PER_SAMPLE

_ABOUT = ("kind", "layer_class", "shape", "dtype")
"""What is told of a tensor besides its name."""

_FACTOR = "is in the numbers that the integers of its layer stand for"


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
    other
        Its name in the second run, if it has another one.
    how
        What the two tensors share, if they were matched: ``name``, ``values``, ``output``, several
        of these, ``input`` if a pair with a common name reads them, or ``order``; ``map`` if a file
        pairs them.
    left_out
        Whether it was matched with no tensor, which does not count as a difference.
    into
        The tensor into whose counterpart in the second run it was fused, if it was.
    floor
        The part of `max_relative` that rounding alone causes; ``None`` if it was not measured.
    own_error
        `max_relative` if the layer is given the values of the first run; ``None`` if it was not
        measured.
    own_floor
        The part of `own_error` that rounding alone causes.
    adds
        Whether the layer itself adds more of an error than rounding causes.
    begins
        The layer in which this error begins, if several were fused into one operation.
    unrounded
        `own_error` if no activation is rounded to an integer; ``None`` if the layer rounds none, or
        it was not measured.
    """

    kind: str
    tensor: str
    layer_class: str
    shape: tuple[int, ...]
    dtype: str
    sample: Any = None
    unit: str | None = None
    why: str | None = None
    other: str | None = None
    how: str | None = None
    left_out: bool = False
    into: str | None = None
    floor: float | None = None
    own_error: float | None = None
    own_floor: float | None = None
    adds: bool = False
    begins: str | None = None
    unrounded: float | None = None


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
    measured
        The errors of the layers that were measured when the first run was made again as the
        second.
    """

    a: Run
    b: Run
    tensors: tuple[TensorDifference, ...]
    facts: tuple[tuple[str, Any, Any], ...]
    exact: bool = False
    measured: ErrorTable | None = None

    @property
    def frame(self) -> pd.DataFrame:
        """The differences as a data frame, a row per tensor."""
        rows = [dict.fromkeys(("tensor", *_ABOUT)) | vars(t) for t in self.tensors]
        return pd.DataFrame(rows).drop(columns="place", errors="ignore")

    @property
    def first(self) -> TensorDifference | None:
        """The first tensor in call order whose bits differ, not counting weights."""
        return next((t for t in self.compared if not t.bitwise and t.kind in PER_SAMPLE), None)

    @property
    def compared(self) -> tuple[TensorDifference, ...]:
        """Differences of the tensors that were not left out."""
        return tuple(t for t in self.tensors if not t.left_out)

    @property
    def first_beyond(self) -> TensorDifference | None:
        """The first tensor in call order beyond the tolerance, not counting weights."""
        return next((t for t in self.compared if not t.within and t.kind in PER_SAMPLE), None)

    @property
    def same(self) -> bool:
        """Whether all tensors are the same: within the tolerance, or bit for bit if `exact`."""
        return all(t.bitwise if self.exact else t.within for t in self.compared)


def diff(
    a: Run | str | Path,
    b: Run | str | Path,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    exact: bool = False,
    align: str | None = None,
    map: str | Path | None = None,
    weights: bool = True,
) -> Difference:
    """Compare two runs on the same probe, value by value.

    Values x and y are within the tolerance if ``|x - y| <= rtol |x| + atol s``, with s the
    layer's scale, its largest finite absolute value in `a`. If `b` is `a` made again otherwise, and
    no tolerance is given, a layer is also within it if its difference is at most ten times what
    rounding alone causes, and it adds none itself.

    Parameters
    ----------
    a, b
        Runs, or any argument of `runner.open_run`.
    rtol, atol
        Relative and absolute tolerance; the default depends on the dtype (float32: 1e-5).
    exact
        Whether only bit-for-bit identical values count as the same.
    align
        How to pair tensors: by ``name``; by ``order`` if layers were renamed; or ``match`` them by
        names, values, shapes and order if the model was converted or ported. Runs that share
        fewer than half of their names are matched by default, others paired by name.
    map
        File that names the pairs (docs/diff.md); if it does not exist, tensors are matched and it
        is written.
    weights
        Whether to compare weights, too. Adopted tensors have none.

    Raises
    ------
    InputError
        If a run cannot be read or failed, the probes differ, a tolerance is not a finite
        number of at least 0, there is no such way to pair tensors, or none were matched.
    """
    _check_tolerance(rtol=rtol, atol=atol)
    one, other = (run if isinstance(run, Run) else open_run(run) for run in (a, b))
    check_probes(one, other)
    measured = measured_between(one, other)
    differences = []
    numbers = RealWeights(one), RealWeights(other)
    compares_weights = weights and not (one.record.is_adopted or other.record.is_adopted)
    for pair in paired(one, other, align, None if map is None else local_path(map, "map")):
        mine, theirs = pair.a, pair.b
        known = mine or theirs
        assert known is not None
        if not known.per_sample and not compares_weights:
            continue
        about = {key: getattr(known, key) for key in _ABOUT} | {"tensor": known.name}
        about |= {"how": pair.how, "left_out": pair.left_out, "into": pair.into}
        if not known.per_sample and any(each.is_factor(known.name) for each in numbers):
            about["left_out"] = True
            differences.append(TensorDifference(**about, why=_FACTOR))
            continue
        if mine is None or theirs is None:
            lacking = one if mine is None else other
            lack = pair.why or f"run {lacking.id} has none"
            differences.append(TensorDifference(**about, why=lack))
            continue
        about["other"] = None if mine.name == theirs.name else theirs.name
        if any(each.is_quantized(t) for each, t in zip(numbers, (mine, theirs), strict=True)):
            differences.append(TensorDifference(**about, **of_quantized(numbers, pair, rtol, atol)))
        elif pair.rearranged is None and mine.shape != theirs.shape:
            why = f"shape {list(mine.shape)} and {list(theirs.shape)}"
            differences.append(TensorDifference(**about, why=why))
        else:
            tolerance = max(TOLERANCES.get(t.dtype, 0.0) for t in (mine, theirs))
            found = _compared(
                (one, mine),
                (other, theirs),
                tolerance if rtol is None else rtol,
                tolerance if atol is None else atol,
                pair.rearranged,
            )
            if measured is not None:
                limit = tolerance if rtol is None and atol is None else None
                found |= judged(measured, mine, theirs, found, limit)
            differences.append(TensorDifference(**about, **found))
    facts = tuple(differing_facts(one.record, other.record))
    return Difference(one, other, tuple(differences), facts, exact, measured)


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


def _compared(
    a: tuple[Run, TensorRecord],
    b: tuple[Run, TensorRecord],
    rtol: float,
    atol: float,
    rearranged: Rearrangement | None,
) -> dict[str, Any]:
    """Return how a tensor's values differ between two runs, as fields of TensorDifference."""
    run, spec = a
    mine, theirs = (partial(run.blocks, tensor.name, tensor.kind) for run, tensor in (a, b))
    if rearranged is not None and rearranged.moves:
        theirs = partial(_rearranged_blocks, *b, rearranged)
    found = distance_of(mine, theirs, rtol, atol)
    facts = dict(vars(found))
    if found.place is not None:
        rows = len(run.samples) if spec.per_sample else None
        worst = np.unravel_index(found.place, spec.shape if rows is None else (rows, *spec.shape))
        facts["sample"] = None if rows is None else run.samples[worst[0]]
        facts["unit"] = "u" + "_".join(map(str, worst if rows is None else worst[1:]))
    return facts


def _rearranged_blocks(
    run: Run, tensor: TensorRecord, rearranged: Rearrangement
) -> Iterator[np.ndarray]:
    """Yield the values of a tensor with the axes of another."""
    if not tensor.per_sample:
        yield rearranged.of(run.array(tensor.name, tensor.kind))
        return
    for block in run.blocks(tensor.name, tensor.kind):
        yield rearranged.of_samples(block)
