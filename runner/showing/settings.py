"""How a probe is shown to a model and its tables are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runner.config.capture_config import CaptureConfig
from runner.config.effects_config import By
from runner.intervening.action import Action
from runner.showing.division import Part
from runner.tables.workbook import check_installed


@dataclass(frozen=True)
class Settings:
    """How a probe is shown and its tables are written.

    Attributes
    ----------
    capture
        The capture options.
    format
        Format of the tables.
    times
        Number of times that the whole probe will be shown.
    loss
        The loss with which gradients are computed; ``None`` for the model's own.
    intervene
        What is done to the outputs of layers, by pattern.
    effects_by
        For which parts of the probe the effects of interventions are measured, beside all of it.
    logit_difference
        Two units of the output, if the difference of their logits is measured as well.
    outputs
        Whether to capture what the model itself returns, beside what `capture` says.
    part
        The part of the probe that is shown; ``None``: all of it.

    Raises
    ------
    InputError
        If the format is unknown or needs a package that is not installed.
    """

    capture: CaptureConfig = field(default_factory=CaptureConfig)
    format: str = "parquet"
    times: int = 1
    loss: Any = None
    intervene: Mapping[str, Action] = field(default_factory=dict)
    effects_by: Sequence[By] = ()
    logit_difference: Sequence[int] | None = None
    outputs: bool = False
    part: Part | None = None

    def __post_init__(self) -> None:
        check_installed(self.format)
