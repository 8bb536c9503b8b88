"""Linear centred kernel alignment without the correction for few samples; see `cka`."""

from __future__ import annotations

import numpy as np
import pandas as pd

from runner.measures.cka import linear_alignment


def _chance(pairs: pd.DataFrame) -> str:
    """Describe the score of independent noise where there are more units than samples."""
    # For independent noise: the expected product of Gram matrices over their expected norms.
    of_a, of_b = (pairs[key] / (pairs[key] + pairs["n"]) for key in ("width_a", "width_b"))
    wide = pairs[["width_a", "width_b"]].max(axis=1) > pairs["n"]
    if not wide.any():
        return ""
    chance = np.sqrt((of_a * of_b)[wide].max())
    return (
        f"independent noise of these widths scores up to {chance:.2f}; use cka, which is debiased"
    )


CKA_BIASED = linear_alignment(
    debiased=False,
    order=10,
    definition="the same, biased for few samples",
    invariant_to="as `cka`",
    note="near 1 for noise if there are more units than samples",
    is_swayed=True,
    cautions=(_chance,),
)
