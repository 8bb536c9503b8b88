"""Hydra's loader, with checks of what the user's files set of Hydra's own keys."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra._internal.utils import create_automatic_config_search_path
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.default_element import ResultDefault
from hydra.types import RunMode
from omegaconf import DictConfig

from runner.config.hydra_keys import ForbiddenError, file_problems, hydra_values
from runner.config.packaged import CONFIG_DIRECTORY, CONFIG_NAME
from runner.config.unfolding import BoundedLoader


def search_path(folder: str | None = None) -> ConfigSearchPath:
    """Return the search path of Hydra's command line, with the user's folder if there is one."""
    found = create_automatic_config_search_path(None, None, str(CONFIG_DIRECTORY))
    if folder is not None:
        found.prepend(
            provider="command-line",
            path=f"file://{Path(folder).resolve()}",
            anchor=SearchPathQuery(provider="schema"),
        )
    return found


class CheckedLoader(BoundedLoader):
    """Hydra's loader, which refuses files that set keys of ``hydra`` that could run code.

    Every composition is checked: of one run, of a whole sweep, and of each of its jobs, in this
    process or in a worker.

    Parameters
    ----------
    config_search_path
        Where to look for configs.
    has_own_files
        Whether files of the user may be part of the configuration.
    """

    def __init__(self, config_search_path: ConfigSearchPath, *, has_own_files: bool) -> None:
        super().__init__(config_search_path)
        self._has_own_files = has_own_files
        self._hydra: dict[str, Any] = {}
        self._packaged: dict[str, dict[str, Any]] = {}

    def _compose_config_from_defaults_list(
        self, defaults: list[ResultDefault], repo: Any
    ) -> DictConfig:
        """Compose the files, to which Hydra then applies the command line."""
        cfg = super()._compose_config_from_defaults_list(defaults, repo)
        self._hydra = hydra_values(cfg)
        if self._has_own_files:
            sweeper = str(_chosen(defaults, "hydra/sweeper"))
            if sweeper == "basic" and "dry_run" not in cfg:
                [primary] = [str(each.config_path) for each in defaults if each.primary]
                raise ForbiddenError.of(
                    f"{primary}.yaml",
                    "does not build on Runner's own config",
                    f"begin its defaults with it: defaults: [{CONFIG_NAME}, ..., _self_]",
                )
            ours = self._without_own_files(str(_chosen(defaults, "hydra/launcher")))
            if problems := list(file_problems(self._hydra, ours, sweeper)):
                raise ForbiddenError(problems)
        return cfg

    def _without_own_files(self, launcher: str) -> dict[str, Any]:
        """Return the values of ``hydra`` without the user's files, with the same launcher."""
        if launcher not in self._packaged:
            loader = CheckedLoader(search_path(), has_own_files=False)
            is_packaged = launcher in loader.get_group_options("hydra/launcher")
            words = [f"hydra/launcher={launcher}"] if is_packaged else []
            loader.load_configuration(CONFIG_NAME, words, RunMode.RUN)
            self._packaged[launcher] = loader._hydra
        return self._packaged[launcher]


def _chosen(defaults: Sequence[ResultDefault], group: str) -> str | None:
    """Return the config of a group in a list of defaults, ``None`` if there is none."""
    paths = (str(each.config_path).partition(f"{group}/") for each in defaults)
    return next((name for above, found, name in paths if found and not above), None)
