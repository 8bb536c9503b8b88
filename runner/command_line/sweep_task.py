"""What Hydra calls for a batch of jobs, in this process or in a worker."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from runner.config.jobs import task_of


class SweepTask:
    """Runs a batch; travels to workers without its progress bar.

    Parameters
    ----------
    advance
        Called after every job that is done in this process.
    """

    def __init__(self, advance: Callable[[], None] | None = None) -> None:
        self._advance = advance

    def __getstate__(self) -> dict[str, object]:
        return {"_advance": None}

    def __call__(self, cfg: DictConfig) -> None:
        """Run the jobs of the batch that Hydra's configuration stands for."""
        from runner.experiment.sweep import run_jobs

        hydra: Any = HydraConfig.instance().cfg
        for _, error in run_jobs(task_of(cfg, hydra)):
            if error is not None:
                sys.stderr.write(f"error: {error}\n")
            if self._advance is not None:
                self._advance()
