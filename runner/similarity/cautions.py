"""Warnings about similarity values that are misleading."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from runner.caller_warnings import warn_caller
from runner.similarity.measure import Measure

FEW = 30
"""Samples below which a value is mostly chance."""

DOMINANT = 0.5
"""Share of a layer's variance above which one sample decides the value."""

_SHOWN = 3


def warn_of(metric: str, measure: Measure, pairs: pd.DataFrame, remarks: Sequence[str]) -> None:
    """Warn about misleading values, once for each reason.

    Parameters
    ----------
    metric
        Name of the measure.
    measure
        The measure, with what it cautions against.
    pairs
        Pairs as returned by `runner.similarity.pairs.compare_layers`.
    remarks
        Warnings about single layers.
    """
    said = [_few(pairs), *(caution(pairs) for caution in measure.cautions)]
    if remarks:
        more = f" (and {len(remarks) - _SHOWN} more)" if len(remarks) > _SHOWN else ""
        said.append("; ".join(remarks[:_SHOWN]) + more)
    for caution in filter(None, said):
        warn_caller(f"{metric}: {caution}")


def _few(pairs: pd.DataFrame) -> str:
    least = pairs["n"].min()
    return f"{least} samples are few: values are mostly chance" if least < FEW else ""
