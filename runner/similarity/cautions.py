"""Warnings about similarity values that are misleading."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd

FEW = 30
"""Samples below which a value is mostly chance."""

DOMINANT = 0.5
"""Share of a layer's variance above which one sample decides the value."""

SWAYED = ("cka_biased", "svcca", "procrustes")
"""Measures that one sample can decide: an outlier shared by two layers makes them similar."""

_SHOWN = 3


def warn_of(metric: str, pairs: pd.DataFrame, remarks: Sequence[str]) -> None:
    """Warn about misleading values, once for each reason.

    Parameters
    ----------
    metric
        Name of the similarity measure.
    pairs
        Pairs as returned by `runner.similarity.pairs.compare_layers`.
    remarks
        Warnings about single layers.
    """
    said = [_few(pairs), _spanned(metric, pairs), _biased(metric, pairs)]
    if remarks:
        more = f" (and {len(remarks) - _SHOWN} more)" if len(remarks) > _SHOWN else ""
        said.append("; ".join(remarks[:_SHOWN]) + more)
    for caution in filter(None, said):
        warnings.warn(f"{metric}: {caution}", stacklevel=4)


def _few(pairs: pd.DataFrame) -> str:
    least = pairs["n"].min()
    return f"{least} samples are few: values are mostly chance" if least < FEW else ""


def _spanned(metric: str, pairs: pd.DataFrame) -> str:
    """Describe the pairs in which a layer has enough units to fit any values of the samples."""
    if metric not in ("cca", "svcca"):
        return ""
    widest = pairs[["width_a", "width_b"]].max(axis=1)
    spanned = pairs["n"] <= widest
    if not spanned.any():
        return ""
    return (
        f"{spanned.sum():,} of {len(pairs):,} values are near 1 whatever the layers hold, since "
        f"{pairs['n'][spanned].min():,} samples are no more than {widest.max():,} units; "
        "show more samples, or use cka"
    )


def _biased(metric: str, pairs: pd.DataFrame) -> str:
    """Describe the score of independent noise where there are more units than samples."""
    if metric != "cka_biased":
        return ""
    # For independent noise: the expected product of Gram matrices over their expected norms.
    of_a, of_b = (pairs[key] / (pairs[key] + pairs["n"]) for key in ("width_a", "width_b"))
    wide = pairs[["width_a", "width_b"]].max(axis=1) > pairs["n"]
    if not wide.any():
        return ""
    chance = np.sqrt((of_a * of_b)[wide].max())
    return (
        f"independent noise of these widths scores up to {chance:.2f}; use cka, which is debiased"
    )
