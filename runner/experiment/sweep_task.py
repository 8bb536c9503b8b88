"""The task that Hydra calls for each batch of a sweep, in this process or in a worker."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from runner.config.compose import merging
from runner.config.grammar import hydra_word
from runner.config.jobs import SWEEP_FOLDER, task_of
from runner.config.loading import Loader
from runner.config.resolve import register_resolvers
from runner.model.backend import ENGINES, configured_backend, running_backend
from runner.store_urls import RunPlace, StoreUrl


def run_sweep(
    loader: Loader, overrides: Sequence[str], folder: RunPlace, advance: Callable[[], None]
) -> None:
    """Run the jobs of a sweep with the sweeper and the launcher of its configuration.

    Parameters
    ----------
    loader
        Loader of the configuration.
    overrides
        Overrides of the command line; those that name the folder are left out.
    folder
        The folder or URL of the sweep.
    advance
        Called after each job that is finished in this process.
    """
    words = [word for word in overrides if word.lstrip("+").partition("=")[0] != SWEEP_FOLDER]
    with contextlib.ExitStack() as scopes:
        local = str(folder)
        if isinstance(folder, StoreUrl):  # Hydra would make a folder of that name
            local = scopes.enter_context(tempfile.TemporaryDirectory(prefix="runner-sweep-"))
            words.append(hydra_word("hydra.sweeper.store", str(folder)))
        _sweep(loader, merging([*words, hydra_word(SWEEP_FOLDER, local)]), advance)


def _sweep(loader: Loader, overrides: Sequence[str], advance: Callable[[], None]) -> None:
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
        hydra: Any = HydraConfig.instance().cfg
        if made := OmegaConf.select(hydra, "hydra.runtime.output_dir"):
            # Other launchers make a folder named after the number of the task, not of the job.
            with contextlib.suppress(OSError):  # it holds the run of an earlier sweep
                Path(made).rmdir()
        with contextlib.closing(_finished(cfg, hydra)) as finished:
            for error in finished:
                if error is not None:
                    sys.stderr.write(f"error: {error}\n")
                if self._advance is not None:
                    self._advance()


def _finished(cfg: DictConfig, hydra: DictConfig) -> Generator[str | None]:
    """Run the jobs of a batch, and yield the error of each, if it could not be published.

    They run in this process, unless Keras runs on another backend in it.
    """
    backend = cfg.get("backend") or configured_backend()[0]
    if backend not in ENGINES or running_backend() in (None, backend):
        yield from _run(cfg, hydra)
    else:
        from runner.experiment.worker import worker_on

        # As plain data: the classes of plugins are loaded twice, and cannot be pickled.
        plain = (OmegaConf.to_container(each, enum_to_str=True) for each in (cfg, hydra))
        yield from worker_on(backend).run(run_in_worker, *plain)


def run_in_worker(own: dict[str, Any], hydra: dict[str, Any]) -> Generator[str | None]:
    """Run the jobs of a batch in another process than Hydra's task.

    Parameters
    ----------
    own, hydra
        The configurations of the task as plain data, interpolations not resolved.
    """
    register_resolvers(str(hydra["hydra"]["sweeper"]["run_id"]))
    whole = OmegaConf.create({**own, "hydra": OmegaConf.structured(HydraConf)})
    with open_dict(whole.hydra):
        whole.merge_with(hydra)
    HydraConfig.instance().set_config(whole)
    yield from _run(OmegaConf.create(own), HydraConfig.instance().cfg)


def _run(cfg: DictConfig, hydra: Any) -> Generator[str | None]:
    from runner.experiment.job_batch import run_jobs
    from runner.parts.making import make_parts

    task = task_of(cfg, hydra)
    with contextlib.closing((make_parts if task.in_parts else run_jobs)(task)) as finished:
        for _, error in finished:
            yield None if error is None else str(error)
