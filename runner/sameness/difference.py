"""Where two runs differ, tensor by tensor in call order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from runner.record.record import RunRecord, TensorRecord
from runner.runs.locate import open_run
from runner.runs.published_run import Run
from runner.runs.runs import flat_config
from runner.runs.same_probe import check_probes

# How far apart values of a type may lie that the same arithmetic gives in another order.
TOLERANCES = {"float16": 1e-2, "bfloat16": 5e-2, "float32": 1e-5, "float64": 1e-12}

Alignment = Literal["name", "order"]


@dataclass(frozen=True)
class TensorDifference:
    """One tensor of two runs.

    Attributes
    ----------
    kind, tensor, layer_class, shape, dtype
        As in the first run.
    bitwise
        Whether every value has the same bits; a NaN is the same as any other.
    within
        Whether all lie within the tolerance.
    max_abs
        Largest difference of finite values.
    max_relative
        That, as a share of the layer's scale: its largest finite absolute value.
    ulp
        Most representable numbers between two values that are compared.
    differing
        Share of values that are not the same bits.
    sample, unit
        Where the largest difference is.
    values
        The two values there.
    why
        Why the values cannot be compared, if they cannot.
    """

    kind: str
    tensor: str
    layer_class: str
    shape: tuple[int, ...]
    dtype: str
    bitwise: bool = False
    within: bool = False
    max_abs: float = np.nan
    max_relative: float = np.nan
    ulp: int | None = None
    differing: float = np.nan
    sample: Any = None
    unit: str | None = None
    values: tuple[Any, Any] | None = None
    why: str | None = None


@dataclass(frozen=True)
class Difference:
    """What two runs have the same, and what not.

    Attributes
    ----------
    a, b
        The runs.
    tensors
        Every tensor of either, in call order.
    facts
        What differs between their records: the key, and its two values.
    exact
        Whether only the same bits count as the same.
    """

    a: Run
    b: Run
    tensors: tuple[TensorDifference, ...]
    facts: tuple[tuple[str, Any, Any], ...]
    exact: bool = False

    @property
    def frame(self) -> pd.DataFrame:
        """A row per tensor."""
        return pd.DataFrame([vars(tensor) for tensor in self.tensors])

    @property
    def first(self) -> TensorDifference | None:
        """The first tensor in call order whose bits differ, weights apart."""
        return next((t for t in self.tensors if not t.bitwise and t.kind != "weight"), None)

    @property
    def same(self) -> bool:
        """Whether all tensors are the same within the tolerance, or to the bit if `exact`."""
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
    """Compare two runs that were shown the same probe, value by value.

    Values x and y are within the tolerance if ``|x - y| <= rtol |x| + atol s``, with s the
    layer's scale, its largest finite absolute value in `a`.

    Parameters
    ----------
    a, b
        Runs, or what `runner.open_run` takes.
    rtol, atol
        The tolerance; by default that of the tensor's type, 1e-5 for float32.
    exact
        Let only the same bits count as the same.
    align
        How tensors are paired: by ``name``, or by ``order`` where layers were renamed.

    Raises
    ------
    InputError
        If a run cannot be read or failed, or if their probes differ.
    """
    one, other = (run if isinstance(run, Run) else open_run(run) for run in (a, b))
    check_probes(one, other)
    differences = []
    for mine, theirs in _pairs(one.record, other.record, align):
        known = mine or theirs
        assert known is not None
        about = (known.kind, known.name, known.layer_class, known.shape, known.dtype)
        if mine is None or theirs is None:
            lacking = one if mine is None else other
            differences.append(TensorDifference(*about, why=f"run {lacking.id} has none"))
        elif mine.shape != theirs.shape:
            why = f"shape {list(mine.shape)} and {list(theirs.shape)}"
            differences.append(TensorDifference(*about, why=why))
        else:
            tolerance = max(TOLERANCES.get(t.dtype, 0.0) for t in (mine, theirs))
            found = _compared(
                (one, mine),
                (other, theirs),
                tolerance if rtol is None else rtol,
                tolerance if atol is None else atol,
            )
            differences.append(TensorDifference(*about, **found))
    facts = tuple(_facts(one.record, other.record))
    return Difference(one, other, tuple(differences), facts, exact)


def assert_same(a: Run | str | Path, b: Run | str | Path, **how: Any) -> None:
    """Fail where two runs differ; for tests of your own.

    Parameters
    ----------
    a, b, **how
        As in `diff`.

    Raises
    ------
    AssertionError
        Names the first tensor that differs, and where.
    InputError
        As from `diff`.
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
    """Yield the tensors of two runs side by side, those of the first in call order."""
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
    """Return how far the values of a tensor lie apart."""
    run, spec = a
    x, y = (run.array(tensor.name, tensor.kind) for run, tensor in (a, b))
    rows = len(run.samples) if spec.per_sample else None
    bits = _same_bits(x, y)
    if bits.all():
        return {"bitwise": True, "within": True, "max_abs": 0.0, "max_relative": 0.0, "ulp": 0,
                "differing": 0.0}  # fmt: skip
    with np.errstate(invalid="ignore", over="ignore"):
        wide = [array.astype(np.float64) for array in (x, y)]
        distance = np.abs(wide[0] - wide[1])
        distance[bits] = 0
        distance[np.isnan(distance)] = np.inf  # a NaN beside a number
        finite = np.abs(wide[0][np.isfinite(wide[0])])
        scale = float(finite.max()) if finite.size else 0.0
        allowed = rtol * np.abs(wide[0]) + atol * scale
        within = bool((distance <= np.where(np.isfinite(allowed), allowed, 0)).all())
    worst = np.unravel_index(int(distance.argmax()), distance.shape)
    largest = float(distance[worst])
    place = worst if rows is None else worst[1:]
    return {
        "within": within,
        "max_abs": largest,
        "max_relative": largest / scale if scale else (np.inf if largest else 0.0),
        "ulp": _ulp(x, y),
        "differing": float(1 - bits.mean()),
        "sample": run.samples[worst[0]] if rows is not None else None,
        "unit": "u" + "_".join(map(str, place)),
        "values": (x[worst], y[worst]),
    }


def _same_bits(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if x.dtype == y.dtype and x.dtype.kind == "f":
        bits = f"u{x.dtype.itemsize}"
        same = np.ascontiguousarray(x).view(bits) == np.ascontiguousarray(y).view(bits)
    else:
        same = x == y
    return np.asarray(same | ((x != x) & (y != y)))


def _ulp(x: np.ndarray, y: np.ndarray) -> int | None:
    """Return the most floating-point numbers that lie between two values."""
    if x.dtype != y.dtype or x.dtype.kind != "f":
        return None
    comparable = ~(np.isnan(x) | np.isnan(y))
    if not comparable.any():
        return None
    signed, size = f"i{x.dtype.itemsize}", 8 * x.dtype.itemsize
    places = []
    for values in (x[comparable], y[comparable]):
        bits = values.view(signed).astype(np.int64)
        lowest = np.int64(-(2 ** (size - 1)))
        places.append(np.where(bits < 0, lowest - bits, bits))
    low, high = np.minimum(*places), np.maximum(*places)
    return int((high.view(np.uint64) - low.view(np.uint64)).max())


def _facts(a: RunRecord, b: RunRecord) -> Iterator[tuple[str, Any, Any]]:
    """Yield what two records say differently, apart from what every run has of its own."""
    left, right = (dict(flat_config(_told(record))) for record in (a, b))
    for key in dict.fromkeys((*left, *right)):
        if left.get(key) != right.get(key):
            yield key, left.get(key), right.get(key)


def _told(record: RunRecord) -> dict[str, Any]:
    told = {
        "seed": record.seed,
        "seeding": record.seeding,
        "config": {key: value for key, value in record.config.items() if key != "seed"},
        "environment": vars(record.environment),
        "backend": record.backend and vars(record.backend),
        "format": record.format,
    }
    plain = json.loads(json.dumps(told, default=vars))
    assert isinstance(plain, dict)
    return plain
