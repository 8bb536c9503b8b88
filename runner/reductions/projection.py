"""The projection of flattened samples on random directions, which keeps the distances."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from runner.capture.arithmetic import Arithmetic
from runner.capture.reduction import OfFlattened
from runner.sizes import check_memory


class Projection(OfFlattened):
    """The projection on random directions.

    The distances between samples are kept (Johnson & Lindenstrauss 1984, "Extensions of Lipschitz
    mappings into a Hilbert space"). The tensor's name is the seed: the same name and size give
    the same matrix in every run.
    """

    order = 50
    example = "16"
    note = "seeded, random"

    size: Annotated[int, Field(ge=1, le=65_536)]
    """Number of directions."""

    def compute(self, ops: Arithmetic, flat: Any, name: str) -> Any:
        """Multiply flattened samples by a Gaussian matrix of variance 1/size."""
        import numpy as np

        check_memory(name, 8 * flat.shape[1] * self.size)
        seed = np.random.SeedSequence(list(name.encode()))
        generator = np.random.Generator(np.random.Philox(seed))
        matrix = generator.normal(scale=self.size**-0.5, size=(flat.shape[1], self.size))
        dtype = str(getattr(flat.dtype, "name", flat.dtype)).removeprefix("torch.")
        if "float" not in dtype:
            dtype = "float32"
        return ops.matmul(ops.cast(flat, dtype), ops.cast(matrix, dtype))
