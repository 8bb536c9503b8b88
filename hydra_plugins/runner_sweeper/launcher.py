"""The launcher that runs batches of jobs one after another in this process."""

from __future__ import annotations

from collections.abc import Sequence

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from runner.config.jobs import refused
from runner.config.loading import explained
from runner.errors import InputError


class RunnerLauncher(Launcher):
    """Composes and runs each batch; a batch that cannot be composed is recorded as failed."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Store Hydra's objects for the sweep."""
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    def launch(
        self,
        job_overrides: Sequence[Sequence[str]],
        initial_job_idx: int,  # noqa: ARG002
    ) -> Sequence[JobReturn]:
        """Run every batch.

        Parameters
        ----------
        job_overrides
            Overrides of each batch, which include the numbers of its jobs.
        initial_job_idx
            Number of Hydra's first task, not used.
        """
        assert self.hydra_context is not None
        assert self.config is not None
        assert self.task_function is not None
        for words in job_overrides:
            try:
                cfg = self.hydra_context.config_loader.load_sweep_config(self.config, list(words))
            except (HydraException, OmegaConfBaseException, InputError) as error:
                problem = explained(error, self.hydra_context.config_loader, words)
                cfg = refused(self.config, words, problem)
            HydraConfig.instance().set_config(cfg)
            self.task_function(
                OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
            )
        return []


ConfigStore.instance().store(
    group="hydra/launcher",
    name="runner",
    node={"_target_": "hydra_plugins.runner_sweeper.launcher.RunnerLauncher"},
    provider="runner",
)
