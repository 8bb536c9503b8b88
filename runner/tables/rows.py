"""The rows of one tensor's table, or of several, in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Rows:
    """Rows of one tensor.

    Attributes
    ----------
    index
        The samples (``sample``), or the leading axes of a weight (``i0``...).
    columns
        ``u0``..., or for a map a MultiIndex of its coordinates.
    values
        Shape (rows, columns).
    """

    index: pd.Index
    columns: pd.Index
    values: np.ndarray

    def frame(self) -> pd.DataFrame:
        """Return the rows as a data frame, which may be changed."""
        is_shared = not self.values.flags.writeable
        frame = pd.DataFrame(self.values, columns=self.columns[:], copy=is_shared)
        frame.index = self.index[:]
        return frame
