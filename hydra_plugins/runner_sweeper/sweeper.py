"""Every combination of what a command line sweeps over, as jobs for Hydra's launcher."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class RunnerSweeper(Sweeper):
    """Hands all combinations to the launcher at once.

    Hydra's own sweeper composes every job beforehand, which doubles the work: here a job is
    composed when its turn comes.
    """

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take what Hydra knows about the sweep and make its launcher."""
        self.hydra_context = hydra_context
        self.config = config
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            config=config, hydra_context=hydra_context, task_function=task_function
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Launch a job for every combination.

        Parameters
        ----------
        arguments
            The command line's overrides.

        Returns
        -------
        Sequence[JobReturn]
            What the launcher returned, one for each job.
        """
        assert self.hydra_context is not None
        assert self.config is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        jobs: Sequence[Sequence[str]]
        [jobs] = BasicSweeper.split_arguments(parser.parse_overrides(arguments), None)
        folder = Path(str(self.config.hydra.sweep.dir))
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        return self.launcher.launch(jobs, initial_job_idx=0)


ConfigStore.instance().store(
    group="hydra/sweeper",
    name="runner",
    node={"_target_": "hydra_plugins.runner_sweeper.sweeper.RunnerSweeper"},
    provider="runner",
)
