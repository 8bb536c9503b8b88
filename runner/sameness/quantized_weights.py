"""The difference of two weights of which at least one is quantized."""

from __future__ import annotations

from typing import Any

import numpy as np

from runner.runs.real_weights import RealWeights
from runner.sameness.distance import TOLERANCES, distance_of
from runner.sameness.pairing import Pair


def of_quantized(
    numbers: tuple[RealWeights, RealWeights], pair: Pair, rtol: float | None, atol: float | None
) -> dict[str, Any]:
    """Return how the numbers differ that two weights stand for.

    Parameters
    ----------
    numbers
        The weights of the two runs.
    pair
        The two weights.
    rtol, atol
        The tolerance, by default that of float32.

    Returns
    -------
    dict[str, Any]
        Fields of `runner.sameness.difference.TensorDifference`.
    """
    assert pair.a is not None
    assert pair.b is not None
    mine, theirs = numbers[0].of(pair.a), numbers[1].of(pair.b)
    if mine is None or theirs is None:
        return {"why": "quantized in a way that is not covered"}
    if pair.rearranged is not None and theirs.shape == pair.b.shape:
        theirs = pair.rearranged.of(theirs)
    if mine.size != theirs.size:
        return {"why": f"shape {list(mine.shape)} and {list(theirs.shape)}"}
    least = TOLERANCES["float32"]
    found = distance_of(
        lambda: iter([mine]),
        lambda: iter([theirs]),
        least if rtol is None else rtol,
        least if atol is None else atol,
    )
    facts = dict(vars(found))
    if found.place is not None:
        facts["unit"] = "u" + "_".join(map(str, np.unravel_index(found.place, mine.shape)))
    return facts
