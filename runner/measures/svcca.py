"""Singular vector canonical correlation of two layers.

`cca` of each layer's first principal directions, as many as hold 99 % of its variance.

Source: Raghu, Gilmer, Yosinski, Sohl-Dickstein, "SVCCA: Singular Vector Canonical Correlation
Analysis for Deep Learning Dynamics and Interpretability" (2017, arXiv 1706.05806).
"""

from __future__ import annotations

from runner.measures.cca import correlation

SVCCA = correlation(
    0.99,
    order=30,
    definition="mean canonical correlation of the directions with 99 % of the variance",
    invariant_to="rotation, scale, shift",
    note="as `cca`",
    is_swayed=True,
)
