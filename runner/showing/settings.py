"""How a probe is shown to a model and its tables are written."""

from __future__ import annotations

from dataclasses import dataclass, field

from runner.config.capture_config import CaptureConfig
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

    Raises
    ------
    InputError
        If the format is unknown or needs a package that is not installed.
    """

    capture: CaptureConfig = field(default_factory=CaptureConfig)
    format: str = "parquet"
    times: int = 1

    def __post_init__(self) -> None:
        check_installed(self.format)
