"""Singular vector canonical correlation of two layers.

`cca` of each layer's first principal directions, as many as hold 99 % of its variance.

Source: Raghu, Gilmer, Yosinski, Sohl-Dickstein, "SVCCA: Singular Vector Canonical Correlation
Analysis for Deep Learning Dynamics and Interpretability" (2017, arXiv 1706.05806).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from runner.measures.cca import correlation
from runner.similarity.measure import Measure, MeasureOptions


class Variance(MeasureOptions):
    """The option of the measure."""

    variance: Annotated[float, Field(gt=0, le=1)] = 0.99
    """share of the variance"""

    def measure(self) -> Measure:
        """Return the measure of the directions that hold this share of the variance."""
        return correlation(
            self.variance,
            order=30,
            definition="mean canonical correlation of the directions with most of the variance",
            invariant_to="rotation, scale, shift",
            note="as `cca`",
            is_swayed=True,
            options=Variance,
        )


SVCCA = Variance().measure()
