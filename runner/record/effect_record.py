"""The record of what interventions did to an output: its figures, and what they are called."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated

from pydantic import Field, FiniteFloat

from runner.bounds import Count, Name

Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True)
class EffectRecord:
    """What interventions did to one output of the model, over all samples of the probe.

    Attributes
    ----------
    layer, head, unit, position
        The output that was changed by itself, and the head, unit or position of it; ``None`` if
        the effect is that of all interventions together, or of all heads, units or positions.
    output
        Name of the layer's output that the model returns, or its place in what it returns.
    samples
        Number of samples.
    mean_abs, max_abs
        Mean and largest absolute change of a value; ``None`` if it is not finite.
    kl
        Mean Kullback-Leibler divergence of the changed probabilities from those without
        interventions, in nats; ``None`` if the output holds no probabilities.
    flipped
        Share of the samples, or of their positions, whose largest value is another one; ``None``
        if the output has a single unit.
    accuracy_before, accuracy
        Share of the samples whose largest value is that of their label, without and with
        interventions; ``None`` without labels that number the units.
    restored
        How much of the output of the run that values were taken from is restored: 0 if nothing,
        1 if all of it; ``None`` if no values were taken, or if there was nothing to restore.
    logit_difference_before, logit_difference
        Mean difference of the logits of two units, at the last position of a sequence, without and
        with interventions; ``None`` if it was not asked for.
    loss_before, loss
        Mean loss of the samples, without and with interventions; ``None`` without a loss or
        targets.
    """

    layer: Name | None = None
    head: Count | None = None
    unit: Count | None = None
    position: Count | None = None
    output: Name
    samples: Count
    mean_abs: FiniteFloat | None = None
    max_abs: FiniteFloat | None = None
    kl: FiniteFloat | None = None
    flipped: Share | None = None
    accuracy_before: Share | None = None
    accuracy: Share | None = None
    restored: FiniteFloat | None = None
    logit_difference_before: FiniteFloat | None = None
    logit_difference: FiniteFloat | None = None
    loss_before: FiniteFloat | None = None
    loss: FiniteFloat | None = None


_NAMES = [field.name for field in fields(EffectRecord)]

PART_TYPES = {
    field.name: "string" if field.name in ("layer", "output") else "double"
    for field in fields(EffectRecord)
}
"""The types of the columns in a table of effects: what is not known is NaN, or an empty text."""


COUNTED = ("head", "unit", "position", "samples")
"""The columns of a table of effects that hold whole numbers."""

SHARES = ("flipped", "accuracy_before", "accuracy")
"""Those that hold numbers from 0 to 1."""


@dataclass(frozen=True)
class Measured:
    """The names of a figure of effects.

    Attributes
    ----------
    title
        In the report.
    heading
        In a table on the screen.
    """

    title: str
    heading: str


MEASURED = {
    "logit_difference": Measured("logit difference", "logit diff"),
    "restored": Measured("share restored", "restored"),
    "mean_abs": Measured("mean change of the output", "mean change"),
    "kl": Measured("divergence of the probabilities, in nats", "kl"),
    "flipped": Measured("share of samples with another largest value", "flipped"),
}
"""The figures of effects that are shown by themselves, the most informative first."""

IN_PAIRS = [name for name in _NAMES if f"{name}_before" in _NAMES and name not in MEASURED]
"""The figures that are shown without and with interventions."""
