"""The sweeper that turns every combination of swept values into batches for a launcher."""

from __future__ import annotations

import os
from dataclasses import replace
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
from runner.config.batches import Batch, batches_of, drawing_backend
from runner.config.combinations import words_of
from runner.config.composition import to_yaml
from runner.config.grammar import parsed_overrides
from runner.config.resolve import register_resolvers
from runner.config.value_columns import read
from runner.errors import InputError, RunError, RunnerError, first_line
from runner.stores.places import write_beside

# Largest number of jobs in one task of another launcher: enough to be worth its start, few
# enough that a lost worker loses little.
_TASK_JOBS = 32

if not OmegaConf.has_resolver("runner.short"):  # in a worker that Runner did not start
    register_resolvers("")


class RunnerSweeper(Sweeper):
    """Sweeper that passes jobs that differ only in cheap keys to the launcher as one batch.

    Hydra's own sweeper composes every job, and a choice that cannot be composed stops the whole
    sweep. Here a batch is composed only when it runs. Runner's own launcher records a batch that
    cannot be composed as failed; another launcher gets only batches that can be composed, and
    the others go to Runner's launcher.

    Parameters
    ----------
    run_id, sweep_id
        Ids of this invocation, and of the sweep that its runs belong to.
    jobs
        For a batch: its jobs, as written by `runner.config.value_columns`.
    drawn_by
        For a batch of a sweep over backends: the backend that draws the initial weights of all.
    store
        URL that the runs are published below, if not the folder of Hydra's own files.
    parts
        For a run that is made in parts: the numbers of those to make, written like `jobs`.
    """

    def __init__(
        self,
        run_id: str,
        sweep_id: str,
        jobs: Any = None,
        drawn_by: str | None = None,
        store: str | None = None,
        parts: str | None = None,
    ) -> None:
        self._ids = run_id, sweep_id
        self._jobs = jobs
        self._drawn_by = drawn_by
        self._store = store
        self._parts = None if parts is None else read(parts)

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Store Hydra's objects for the sweep and make its launcher."""
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
            Overrides of the command line. Those in ``hydra.sweeper.params`` are added, unless
            they have the same key.

        Returns
        -------
        Sequence[JobReturn]
            Results of the launcher, one for each batch.

        Raises
        ------
        RunError
            If another launcher fails, for instance since there is no cluster.
        """
        assert self.hydra_context is not None
        assert self.config is not None
        params: Any = OmegaConf.to_container(self.config.hydra.sweeper, resolve=False)
        words = [*words_of(params["params"]), *arguments]
        batches = batches_of(parsed_overrides(words, self.hydra_context.config_loader))
        size = _TASK_JOBS
        if self._parts is not None:  # jobs of one configuration, each large enough for a task
            batches, size = [replace(batch, jobs=self._parts) for batch in batches], 1
        write_beside(
            self._store or str(self.config.hydra.sweep.dir), "multirun.yaml", to_yaml(self.config)
        )
        if isinstance(self.launcher, RunnerLauncher):
            return self._launch(self.launcher, batches)
        good = [batch for batch in batches if self._can_compose(batch)]
        here = RunnerLauncher()
        here.setup(
            hydra_context=self.hydra_context, task_function=self._task_function, config=self.config
        )
        self._launch(here, [batch for batch in batches if batch not in good])
        try:
            return self._launch(self.launcher, [part for b in good for part in b.parts(size)])
        except Exception as error:  # jobs report their own errors: this is the launcher's
            is_known = isinstance(error, (RunnerError, OSError, MemoryError))
            if is_known and not isinstance(error, ConnectionError):  # which Ray raises
                raise
            choice = OmegaConf.select(self.config, "hydra.runtime.choices.hydra/launcher")
            raise RunError(
                f"hydra/launcher={choice}: {first_line(error)}; for details, add hydra.verbose=true"
            ) from error

    def _launch(self, launcher: Launcher, batches: list[Batch]) -> Any:
        leave_memory_of_cluster(launcher)
        words = [batch.words() for batch in batches]
        if (drawn_by := drawing_backend(batches)) is not None:
            words = [[*own, f"hydra.sweeper.drawn_by={drawn_by}"] for own in words]
        return launcher.launch(words, initial_job_idx=0)

    def _can_compose(self, batch: Batch) -> bool:
        assert self.hydra_context is not None
        assert self.config is not None
        try:
            self.hydra_context.config_loader.load_sweep_config(self.config, batch.words())
        except (HydraException, OmegaConfBaseException, InputError):
            return False
        return True


def leave_memory_of_cluster(launcher: Launcher) -> None:
    """Have Hydra's launcher for Ray set no memory if it is to use a cluster that is there.

    It sets a size of its own by default, which Ray refuses then.
    """
    init = getattr(launcher, "ray_cfg", {}).get("init")
    if init is not None and ("address" in init or "RAY_ADDRESS" in os.environ):
        init.setdefault("object_store_memory", None)


ConfigStore.instance().store(
    group="hydra/sweeper",
    name="runner",
    node={
        "_target_": "hydra_plugins.runner_sweeper.sweeper.RunnerSweeper",
        "run_id": "${runner.id:}",
        "sweep_id": "${runner.id:}",
        "jobs": None,
        "drawn_by": None,
        "store": None,
        "parts": None,
        "params": {},
    },
    provider="runner",
)
