"""Composition with Hydra, and checks of the user's files for it."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobRuntime
from hydra.errors import HydraException
from hydra.types import RunMode
from hydra.version import setbase
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from runner.config.checked_loader import CheckedLoader, search_path
from runner.config.hydra_keys import other_sweeper
from runner.config.packaged import CHOICES, CONFIG_DIRECTORY, CONFIG_NAME
from runner.config.resolve import resolved
from runner.config.yaml_files import yaml_problem
from runner.errors import InputError, Problem, first_line, installing, some, suggest

QUIET = r"Support for \.yml files|In '.*': Defaults list is missing `_self_`"
"""Warnings of Hydra that are reported elsewhere or do not matter."""

_EXTRAS = {"joblib": "parallel", "ray": "ray", "submitit": "slurm"}
"""Extras of this package that install a launcher, by the first word of the launcher's name."""


def check_names(folder: Path) -> None:
    """Check that no user's config has the name of a packaged one, which Hydra would load instead.

    Raises
    ------
    InputError
        With one problem per file. A copy of the packaged file is allowed.
    """
    packaged = sorted(CONFIG_DIRECTORY.rglob("*.yaml"))
    files = {folder / path.relative_to(CONFIG_DIRECTORY): path for path in packaged}
    taken = [
        path for path in files if path.is_file() and path.read_bytes() != files[path].read_bytes()
    ]
    for group, choices in CHOICES.items():
        taken += [path for path in folder.glob(f"{group}/*.yaml") if path.stem in choices]
    if taken:
        message = "has the name of a packaged config, which would be taken instead"
        raise InputError(
            Problem(str(path), message, "give it a name of its own") for path in sorted(taken)
        )


class Loader:
    """Composition with Hydra, with the search path of Hydra's command line.

    Attributes
    ----------
    has_own_files : bool
        Whether files of the user may be part of the configuration.
    """

    def __init__(self, parsed: argparse.Namespace) -> None:
        if hydra.__version__.startswith("1.3."):  # 1.4 has only one version of the defaults
            setbase("1.3")
        JobRuntime.instance().set("name", "runner")
        Plugins.instance()  # lets plugins add to the search path
        self._config_name = parsed.config_name or CONFIG_NAME
        self.has_own_files = parsed.config_dir is not None or parsed.config_name is not None
        self._loader = CheckedLoader(
            search_path(parsed.config_dir), has_own_files=self.has_own_files
        )
        self._chosen: dict[tuple[str, ...], DictConfig] = {}
        if self.has_own_files:
            self._check_search_path()

    @property
    def hydra_loader(self) -> ConfigLoader:
        """Hydra's own loader, which knows the configs of every group."""
        return self._loader

    def is_group(self, override: Override) -> bool:
        """Return whether an override chooses a config of a group."""
        return self._loader.repository.group_exists(override.key_or_group)

    def load(self, overrides: Sequence[str], mode: RunMode = RunMode.RUN) -> DictConfig:
        """Return the composed configuration.

        Parameters
        ----------
        overrides
            Overrides with one value each; for a sweep, those with several are ignored.
        mode
            Whether to compose for one run or for a whole sweep.

        Raises
        ------
        ForbiddenError
            If a file of the user sets a key of ``hydra`` that could run code or misplace files.
        InputError
            If Hydra cannot compose it, or if its interpolations unfold to far more than what is
            written.
        """
        with self.explaining(overrides):
            cfg = self._loader.load_configuration(self._config_name, list(overrides), run_mode=mode)
        resolved(cfg)
        return cfg

    def chosen(self, words: Sequence[str]) -> DictConfig:
        """Return the configuration of some choices of groups, composed once; not to be changed.

        Raises
        ------
        ForbiddenError, InputError
            As in `load`.
        """
        key = tuple(words)
        if key not in self._chosen:
            self._chosen[key] = self.load(words)
        return self._chosen[key]

    @contextlib.contextmanager
    def explaining(self, overrides: Sequence[str] = ()) -> Iterator[None]:
        """Turn what Hydra raises inside the context into an InputError.

        Parameters
        ----------
        overrides
            What is being composed.

        Raises
        ------
        InputError
            With the problem, for every error of Hydra, OmegaConf and YAML.
        """
        try:
            with warnings.catch_warnings():  # wrong suffixes are reported with missing files
                warnings.filterwarnings("ignore", QUIET)
                yield
        except yaml.MarkedYAMLError as error:
            raise InputError([yaml_problem(error)]) from error
        except (HydraException, OmegaConfBaseException) as error:
            raise InputError([explained(error, self._loader, overrides)]) from error
        except (InputError, RecursionError):
            raise
        except Exception as error:  # what Hydra does not expect in a file has no common class
            message = f"Hydra cannot compose it: {first_line(error)}"
            raise InputError.of(
                "config", message, "check its defaults and its keys of hydra"
            ) from error

    def _check_search_path(self) -> None:
        """Refuse ``hydra.searchpath`` before use: a path to a package imports that package."""
        with self.explaining():
            primary = self._loader.repository.load_config(self._config_name)
        if primary is not None and OmegaConf.select(primary.config, "hydra.searchpath"):
            raise InputError.of("hydra.searchpath", "can run code", "use --config-dir")

    def launcher_problems(self, cfg: DictConfig) -> Iterator[Problem]:
        """Yield a problem for each key that is set and that the launcher does not have."""
        choice = str(OmegaConf.select(cfg, "hydra.runtime.choices.hydra/launcher"))
        known = [str(key) for key in self.written(f"hydra/launcher/{choice}")]
        for key in map(str, cfg.hydra.launcher):
            if key not in known:
                advice = suggest(key, known) or f"its keys are {some(known[1:])}"
                if choice == "runner":
                    advice = f"choose another: hydra/launcher=joblib hydra.launcher.{key}=..."
                yield Problem(
                    f"hydra.launcher.{key}", f"the launcher '{choice}' has no such key", advice
                )

    def written(self, config: str) -> Any:
        """Return the values in the file of a config; empty if there is no such config."""
        loaded = self._loader.repository.load_config(config)
        return {} if loaded is None else OmegaConf.to_container(loaded.config, resolve=False)

    def has(self, group: str, name: str) -> bool:
        """Return whether a group has a config of this name."""
        return name in self._loader.get_group_options(group)


def explained(error: Exception, loader: ConfigLoader, words: Sequence[str] = ()) -> Problem:
    """Return the problem that made Hydra fail to compose.

    Parameters
    ----------
    error
        Error raised by Hydra.
    loader
        Loader that lists the available configs.
    words
        Overrides that were being composed.
    """
    if isinstance(error, InputError):
        return error.problems[0]
    cause = error.__cause__ or error
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if isinstance(cause, OmegaConfBaseException):  # the first line says what, the others where
        return Problem(cause.full_key or "config", first_line(cause))
    missing = re.search(r"Could not find '([^']+)'", str(error))
    if missing:
        group, _, name = missing[1].rpartition("/")
        if group == "hydra/sweeper":
            return other_sweeper(name)
        options = loader.get_group_options(group) if group else []
        known = f"there are {', '.join(options)}" if options else ""
        advice = _renaming(loader, missing[1]) or _installing(missing[1])
        advice = advice or suggest(name, options) or known
        return Problem(group or "defaults", f"there is no config '{name}'", advice)
    if primary := re.search(r"Cannot find primary config '([^']+)'", str(error)):
        return Problem("--config-name", f"there is no config '{primary[1]}'")
    if nested := re.search(r"Could not override '(train/\w+)'", str(error)):
        return Problem(nested[1], "nothing is trained", "add train=fit")
    if twice := re.search(r"Multiple values for ([\w/]+)\.", str(error)):
        if any(word.startswith(f"+{twice[1]}=") for word in words):
            return Problem(twice[1], "is chosen already", f"change it without a plus: {twice[1]}=")
        advice = f"in the file that chooses it again, write: - override /{twice[1]}: ..."
        return Problem(twice[1], "is chosen twice in the defaults", advice)
    if added := re.search(r"An item is already at '([^']+)'", str(error)):
        advice = f"change it without a plus: {added[1]}=..."
        return Problem(added[1], "is in the configuration already", advice)
    if key := re.search(r"raised while composing config:\n(.+)\n\s*full_key: (\S+)", str(error)):
        return Problem(key[2], key[1])
    return Problem("config", " ".join(lines) or str(cause))


def _renaming(loader: ConfigLoader, name: str) -> str:
    """Return advice to rename a ``.yml`` file, which Hydra does not read, if there is one."""
    for source in loader.get_sources():
        path = Path(source.path) / f"{name}.yml"
        if source.scheme() == "file" and os.path.isfile(path):  # noqa: PTH113 (no error if too long)
            return f"rename {path} to {path.stem}.yaml"
    return ""


def _installing(name: str) -> str:
    """Return advice on how to install a launcher, empty if it is unknown."""
    group, _, launcher = name.rpartition("/")
    extra = _EXTRAS.get(launcher.partition("_")[0]) if group == "hydra/launcher" else None
    return installing(f"[{extra}]") if extra else ""
