"""The task that Hydra calls for a batch of jobs, in this process or in a worker."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from runner.config.jobs import task_of


class SweepTask:
    """Runs a batch of jobs; pickled for workers without its progress bar.

    Parameters
    ----------
    advance
        Function called after each job that is finished in this process.
    """

    def __init__(self, advance: Callable[[], None] | None = None) -> None:
        self._advance = advance

    def __getstate__(self) -> dict[str, object]:
        return {"_advance": None}

    def __call__(self, cfg: DictConfig) -> None:
        """Run the jobs of the batch in Hydra's configuration."""
        from runner.experiment.sweep import run_jobs

        hydra: Any = HydraConfig.instance().cfg
        if made := OmegaConf.select(hydra, "hydra.runtime.output_dir"):
            # Other launchers make a folder named after the number of the task, not of the job.
            with contextlib.suppress(OSError):  # it holds the run of an earlier sweep
                Path(made).rmdir()
        for _, error in run_jobs(task_of(cfg, hydra)):
            if error is not None:
                sys.stderr.write(f"error: {error}\n")
            if self._advance is not None:
                self._advance()
