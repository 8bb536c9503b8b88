"""A measure of the similarity of two layers: what it computes, what is known of it, its options."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from runner.caller_warnings import warn_caller
from runner.config.strict import Strict
from runner.similarity.conditions import UndefinedError
from runner.similarity.moments import MomentSteps


@dataclass(frozen=True)
class Measure:
    """A measure in two steps.

    It is a function of two arrays, ``x`` of shape (samples, units) and ``y`` of shape (samples,
    other units), whose rows are the same samples, and returns a float, or NaN with a warning
    that says why if it is not defined. It is computed in float64, in two steps: the part that
    depends on one layer (`prepare`) and the part that depends on the pair (`combine`), so that
    each of many layers is prepared once.

    Attributes
    ----------
    prepare
        Maps an array of shape (samples, units) to the prepared layer. Raises
        `UndefinedError` if the measure is not defined for it.
    combine
        Maps two prepared layers to the value.
    definition
        What the value is, in one line of Markdown.
    invariant_to
        Changes of a layer that do not change the value, in Markdown.
    note
        What else to know, in Markdown.
    title
        Name in figures; empty: the name in `runner.similarity.measures.MEASURES`.
    order
        Place among Runner's own measures in lists.
    is_distance
        Whether 0 is the value of a layer and itself, rather than 1.
    is_swayed
        Whether one sample can decide the value: an outlier shared by two layers makes them
        similar.
    cautions
        Functions of the pairs, as returned by `runner.similarity.pairs.compare_layers`: why
        some of the values are misleading, empty if they are not.
    by_product
        Whether a prepared layer is a `Signature` and `combine` the cosine of two of them. All
        pairs of many layers are then one matrix product.
    kept_bytes
        Maps the numbers of samples and units to the bytes of a prepared layer.
    samples_squared
        Whether `prepare` compares every sample with every other, which limits the number of
        samples.
    moments
        The same steps from sums over samples, for many samples; ``None`` if there is no such way.
    options
        Its options; ``None``: it has none.
    """

    prepare: Callable[[np.ndarray], Any]
    combine: Callable[[Any, Any], float]
    definition: str = ""
    invariant_to: str = ""
    note: str = ""
    title: str = ""
    order: int = 100
    is_distance: bool = False
    is_swayed: bool = False
    cautions: tuple[Callable[[pd.DataFrame], str], ...] = ()
    by_product: bool = False
    kept_bytes: Callable[[int, int], int] = lambda samples, units: 8 * samples * units
    samples_squared: bool = False
    moments: MomentSteps | None = None
    options: type[MeasureOptions] | None = None

    @property
    def remarks(self) -> str:
        """What else to know, and its options with their defaults, in Markdown."""
        fields = {} if self.options is None else self.options.model_fields
        told = [f"`{key}={each.default}`: {each.description}" for key, each in fields.items()]
        return "; ".join(filter(None, [self.note, *told]))

    def __call__(self, x: np.ndarray, y: np.ndarray) -> float:
        """Return the value for two layers; NaN with a warning if it is not defined."""
        if len(x) != len(y):
            raise ValueError(f"expected the same samples, found {len(x):,} and {len(y):,}")
        try:
            return self.combine(self.prepare(x), self.prepare(y))
        except UndefinedError as reason:
            warn_caller(f"no similarity: a layer {reason}")
            return float("nan")


class MeasureOptions(Strict):
    """The options of a measure, which stand behind its name: ``knn:neighbours=5``.

    A subclass declares them as fields, each with a default and its documentation below it.
    """

    @abstractmethod
    def measure(self) -> Measure:
        """Return the measure with these options; its attribute `options` is this class."""
