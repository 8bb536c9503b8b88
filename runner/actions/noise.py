"""Adds normally distributed random numbers to values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

import numpy as np

from runner.capture.arithmetic import Arithmetic
from runner.config.cheap_keys import CHEAP
from runner.config.strict import Seed, Strict, checked
from runner.errors import Problem
from runner.intervening.action import Action
from runner.intervening.changed_output import ChangedOutput, Numbers


def _std_problems(std: float) -> Iterator[Problem]:
    if not 0 < std < math.inf:
        yield Problem("", f"must be > 0 and finite, found {std}")


class NoiseConfig(Strict):
    """Random numbers that are added to values."""

    section_title = "Random numbers"
    examples: ClassVar[dict[str, str]] = {
        "std": "intervene.hidden.noise={std:0.1}",
        "seed": "intervene.hidden.noise={std:0.1,seed:1}",
    }

    std: Annotated[float, checked(_std_problems), CHEAP]
    """Standard deviation of the normal distribution that they are drawn from."""
    seed: Annotated[Seed, CHEAP] = 0
    """Seed of the numbers, which also depend on the number of the sample and the tensor."""


class Noise(Action):
    """Adds random numbers."""

    order = 30
    examples: ClassVar[dict[str, str]] = {"noise": "intervene.hidden.noise={std:0.1,seed:1}"}

    noise: NoiseConfig
    """Random numbers to add."""

    @property
    def did(self) -> str:
        """What was done, after ``was``."""
        return f"changed by noise (std {self.noise.std:g}, seed {self.noise.seed})"

    def numbers(self, output: ChangedOutput) -> Numbers:
        """Return the random numbers: those of a sample depend on its row, not on its batch."""

        def drawn(row: int, samples: np.ndarray) -> np.ndarray:
            generators = [
                np.random.default_rng([self.noise.seed, output.number, at])
                for at in range(row, row + len(samples))
            ]
            shape, std = output.spec.shape, self.noise.std
            return np.stack([each.normal(scale=std, size=shape) for each in generators])

        return {"added": drawn}

    def changed(self, tensor: Any, numbers: Mapping[str, Any], arithmetic: Arithmetic) -> Any:  # noqa: ARG002
        """Return the sum."""
        return tensor + numbers["added"]
