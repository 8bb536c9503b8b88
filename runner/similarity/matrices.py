"""Pairs of layers arranged as matrices: runs by runs, or layers by layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

MOST_RUNS = 4
"""Largest number of runs for which each pair of runs has its own matrix of layers."""


@dataclass(frozen=True)
class Matrix:
    """Similarity of each row to each column.

    Attributes
    ----------
    rows, columns
        Names of layers, or ids of runs.
    values
        Shape (row, column); NaN if a pair was not compared.
    layer
        Layer that is compared between runs; ``None`` if layers are compared.
    runs
        Runs of the rows' and of the columns' layers; ``None`` if runs are compared or the
        values are means.
    averaged
        Number of pairs of runs that a value is the mean of; 1 if it is not a mean.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: np.ndarray
    layer: str | None = None
    runs: tuple[str, str] | None = None
    averaged: int = 1


def matrices_of(pairs: pd.DataFrame) -> list[Matrix]:
    """Return pairs of layers as matrices.

    If each layer is only compared with itself in other runs: for each layer, runs by runs.
    Otherwise layers by layers, as in Kornblith, Norouzi, Lee, Hinton, "Similarity of Neural
    Network Representations Revisited" (2019, arXiv 1905.00414): one matrix for each pair of
    few runs; for more runs of the same layers, one of the means over all pairs of runs.

    Parameters
    ----------
    pairs
        Pairs as returned by `runner.similarity.pairs.compare_layers`.

    Returns
    -------
    list[Matrix]
        Empty if many runs have different layers.
    """
    if bool((pairs["layer_a"] == pairs["layer_b"]).all()):
        return [
            _matrix(own, "run", layer=str(layer))
            for layer, own in pairs.groupby("layer_a", sort=False)
        ]
    runs = list(dict.fromkeys([*pairs["run_a"].unique(), *pairs["run_b"].unique()]))
    if len(runs) <= MOST_RUNS:
        chosen = list(combinations(runs, 2)) or [(runs[0], runs[0])]
        return [_of_two(pairs, *two) for two in chosen]
    layers = [_layers(pairs, run) for run in runs]
    if any(own != layers[0] for own in layers):
        return []
    across = pairs[pairs["run_a"] != pairs["run_b"]]
    return [_matrix(across, "layer", averaged=len(runs) * (len(runs) - 1) // 2)]


def _of_two(pairs: pd.DataFrame, a: str, b: str) -> Matrix:
    own = pairs[(pairs["run_a"] == a) & (pairs["run_b"] == b)]
    if a == b:
        return _matrix(own, "layer", runs=(a, b))
    rows, columns = _layers(pairs, a), _layers(pairs, b)
    values = np.full((len(rows), len(columns)), np.nan)
    places = _places(own["layer_a"], rows), _places(own["layer_b"], columns)
    values[places] = own["value"]
    return Matrix(tuple(rows), tuple(columns), values, runs=(a, b))


def _matrix(
    pairs: pd.DataFrame,
    key: str,
    layer: str | None = None,
    runs: tuple[str, str] | None = None,
    averaged: int = 1,
) -> Matrix:
    """Return a symmetric matrix; a pair of names that occurs more than once is averaged."""
    a, b = pairs[f"{key}_a"], pairs[f"{key}_b"]
    names = list(dict.fromkeys([*a.unique(), *b.unique()]))
    found = pairs["value"].to_numpy()
    there = ~np.isnan(found)
    rows, columns = (_places(own, names)[there] for own in (a, b))
    total, count = (np.zeros((len(names), len(names))) for _ in range(2))
    for one, other in ((rows, columns), (columns, rows)):
        np.add.at(total, (one, other), found[there])
        np.add.at(count, (one, other), 1)
    with np.errstate(invalid="ignore"):
        values = total / count  # NaN if there is no value
    return Matrix(tuple(names), tuple(names), values, layer, runs, averaged)


def _layers(pairs: pd.DataFrame, run: str) -> list[str]:
    own = [pairs[f"layer_{side}"][pairs[f"run_{side}"] == run].unique() for side in "ab"]
    # Pairs are in layer order, so second layers occur in that order too.
    return list(dict.fromkeys([*own[0], *own[1]]))


def _places(names: pd.Series, known: Sequence[str]) -> np.ndarray:
    return pd.Index(known).get_indexer(pd.Index(names))
