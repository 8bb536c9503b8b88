"""A sweep with Hydra, and the task that runs a batch of its jobs, here or in a worker."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from runner.config.jobs import task_of
from runner.config.loading import Loader


def run_sweep(loader: Loader, overrides: Sequence[str], advance: Callable[[], None]) -> None:
    """Run the jobs of a sweep with the sweeper and the launcher of its configuration.

    Parameters
    ----------
    loader
        Loader of the configuration.
    overrides
        Overrides of the command line.
    advance
        Called after each job that is finished in this process.
    """
    cfg = loader.load(overrides, RunMode.MULTIRUN)
    context = HydraContext(config_loader=loader.hydra_loader, callbacks=Callbacks(cfg))
    with open_dict(cfg.hydra.sweeper):
        params = cfg.hydra.sweeper.pop("params", None)  # Hydra would resolve it: a job does
        sweeper = Plugins.instance().instantiate_sweeper(
            config=cfg, hydra_context=context, task_function=SweepTask(advance)
        )
        cfg.hydra.sweeper.params = params
    tasks: Any = OmegaConf.to_container(cfg.hydra.overrides.task, resolve=False)
    sweeper.sweep(arguments=tasks)


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
        with contextlib.closing(run_jobs(task_of(cfg, hydra))) as finished:
            for _, error in finished:
                if error is not None:
                    sys.stderr.write(f"error: {error}\n")
                if self._advance is not None:
                    self._advance()
