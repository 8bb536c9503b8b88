"""Configuration of the effects of interventions: what is measured, and of which samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field

from runner.config.strict import Strict, checked
from runner.errors import Problem

By = Literal["class", "sample"]
"""Parts of the probe for which effects are measured: the samples of each label, or each sample."""

BY: tuple[By, ...] = get_args(By)


def logit_problems(units: Sequence[int]) -> Iterator[Problem]:
    """Yield a problem for units between which there is no difference."""
    if len(units) != 2 or units[0] == units[1]:
        found = len({*units})
        yield Problem("", f"expected two different units, found {found}", "such as [0,1]")
    elif min(units) < 0:
        yield Problem("", f"must be 0 or more, found {min(units)}", "the first one is 0")


class EffectsConfig(Strict):
    """Further effects of interventions that are measured."""

    section_title = "Effects"
    examples: ClassVar[dict[str, str]] = {
        "by": "probe=iris model=iris_mlp intervene.hidden_1.set=0 effects.by=[class]",
        "logit_difference": "intervene.hidden.set=0 effects.logit_difference=[0,1]",
    }

    by: list[By] = Field(default=[])
    """`class`: also the effects on the samples of each label; `sample`: on each sample."""
    logit_difference: Annotated[list[int], checked(logit_problems)] | None = None
    """Two units of the model's output, such as two classes: the logit of the first minus that of
    the second is also measured, of a sequence at its last position.
    """


def by_problems(effects: EffectsConfig, intervene: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield a problem if effects are to be measured and there are no interventions."""
    for key in EffectsConfig.model_fields:
        if getattr(effects, key) and not intervene:
            advice = "add one: intervene.LAYER.set=0"
            yield Problem(f"effects.{key}", "there are no interventions", advice)
