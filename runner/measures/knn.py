"""Mean overlap of the samples' nearest neighbours in two layers.

The Jaccard index ``|A and B| / |A or B|``, averaged over samples, where A and B are the other
samples nearest to a sample by cosine similarity in each layer; ties go to the earlier sample. 1 for
a layer and itself; changed by a shift.

Source: Klabunde, Schumacher, Strohmaier, Lemmerich, "Similarity of Neural Network Models: A Survey
of Functional and Representational Measures" (2023, arXiv 2305.06329).
"""

from __future__ import annotations

from functools import partial
from typing import Annotated

import numpy as np
from pydantic import Field

from runner.similarity.centring import check_values, cosines, refuse_rows, scaled_rows
from runner.similarity.conditions import UndefinedError, check_samples
from runner.similarity.measure import Measure, MeasureOptions


class Neighbours(MeasureOptions):
    """The option of the measure."""

    neighbours: Annotated[int, Field(ge=1)] = 10
    """number of neighbours of each sample"""

    def measure(self) -> Measure:
        """Return the measure with this number of neighbours."""
        return Measure(
            partial(_nearest, count=self.neighbours),
            _mean_jaccard,
            order=60,
            definition="share of common samples among the nearest neighbours",
            invariant_to="scale, order of units",
            samples_squared=True,
            options=Neighbours,
        )


def _nearest(x: np.ndarray, *, count: int) -> np.ndarray:
    """Return each sample's nearest neighbours, of shape (samples, neighbours)."""
    check_samples(len(x), 2)
    check_values(x)
    if x.shape[1] == 1:
        raise UndefinedError("has a single unit, and so no directions")
    refuse_rows((x == 0).all(axis=1), "is 0 in every unit, and so has no direction")
    distances = -cosines(scaled_rows(x))
    np.fill_diagonal(distances, np.inf)
    nearest = np.argsort(distances, axis=1, kind="stable")
    return nearest[:, : min(count, len(x) - 1)]


def _mean_jaccard(x: np.ndarray, y: np.ndarray) -> float:
    together = np.sort(np.concatenate([x, y], axis=1), axis=1)
    shared = (together[:, 1:] == together[:, :-1]).sum(axis=1)
    return float((shared / (together.shape[1] - shared)).mean())


KNN = Neighbours().measure()
