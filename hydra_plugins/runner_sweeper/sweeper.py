"""Every combination of what a command line sweeps over, as batches for a launcher."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hydra_plugins.runner_sweeper.launcher import RunnerLauncher
from runner.config.combinations import jobs_of, words_of
from runner.config.grammar import parsed_overrides
from runner.config.jobs import Batch, batches_of
from runner.config.resolve import register_resolvers

# What one task of another launcher takes with it: enough to be worth its start, few enough
# that a worker that is lost takes little along.
_TASK_JOBS = 32

if not OmegaConf.has_resolver("runner.short"):  # in a worker, which Runner did not start
    register_resolvers("")


class RunnerSweeper(Sweeper):
    """Hands jobs that differ in their seed alone to the launcher as one.

    Hydra's own sweeper composes every job, and a choice that cannot be composed stops all.
    Here a batch is composed when its turn comes. Runner's own launcher records one that cannot
    be as failed; before another launcher takes them, those are sorted out and left to it.

    Parameters
    ----------
    run_id, sweep_id
        Ids of this invocation, and of the sweep that its runs belong to.
    jobs
        Of a batch: the seed of each job by its number.
    params
        What is swept over beside the command line's overrides, which replace those of the
        same key.
    """

    def __init__(self, run_id: str, sweep_id: str, jobs: Any = None, params: Any = None) -> None:
        self._ids = run_id, sweep_id
        self._jobs = jobs
        self._params = params

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take what Hydra knows about the sweep and make its launcher."""
        self.hydra_context = hydra_context
        self.config = config
        self._task_function = task_function
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
            What the launcher returned, one for each batch.
        """
        assert self.hydra_context is not None
        assert self.config is not None
        words = [*words_of(self._params), *arguments]
        jobs = jobs_of(parsed_overrides(words, self.hydra_context.config_loader))
        folder = Path(str(self.config.hydra.sweep.dir))
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        batches = batches_of(jobs)
        if isinstance(self.launcher, RunnerLauncher):
            return self._launch(self.launcher, batches)
        good = [batch for batch in batches if self._can_compose(batch)]
        here = RunnerLauncher()
        here.setup(
            hydra_context=self.hydra_context, task_function=self._task_function, config=self.config
        )
        self._launch(here, [batch for batch in batches if batch not in good])
        return self._launch(self.launcher, [part for b in good for part in b.parts(_TASK_JOBS)])

    def _launch(self, launcher: Launcher, batches: list[Batch]) -> Any:
        return launcher.launch([batch.words() for batch in batches], initial_job_idx=0)

    def _can_compose(self, batch: Batch) -> bool:
        assert self.hydra_context is not None
        assert self.config is not None
        try:
            self.hydra_context.config_loader.load_sweep_config(self.config, batch.words())
        except (HydraException, OmegaConfBaseException):
            return False
        return True


ConfigStore.instance().store(
    group="hydra/sweeper",
    name="runner",
    node={
        "_target_": "hydra_plugins.runner_sweeper.sweeper.RunnerSweeper",
        "run_id": "${runner.id:}",
        "sweep_id": "${runner.id:}",
        "jobs": None,
        "params": {},
    },
    provider="runner",
)
