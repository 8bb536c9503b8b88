"""Hydra's composition, and what of it a person may change."""

from __future__ import annotations

import argparse
import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PureWindowsPath

import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_automatic_config_search_path
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobRuntime
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from runner.config.yaml_files import yaml_problem
from runner.errors import InputError, Problem, first_line, suggest

HERE = Path(__file__).resolve().parent.parent
CONFIG_DIRECTORY = HERE / "conf" if (HERE / "conf").is_dir() else HERE.parent / "conf"
CONFIG_NAME = "config"

# The keys of ``hydra`` that a person may set: where runs go, how a sweep is run. Others can
# name code (callbacks, logging handlers, a search path) or would write into the run's folder.
_OPEN_HYDRA_KEYS = re.compile(
    r"hydra\.(run\.dir|sweep\.dir|sweep\.subdir|mode|verbose|job\.name"
    r"|(launcher|sweeper)\.(?!params\b|.*_target_).+)|hydra/(launcher|sweeper)"
)
# Where the classes of Hydra's launchers and sweepers may come from.
_PLUGIN_MODULES = ("hydra._internal.", "hydra_plugins.")


class ForbiddenError(InputError):
    """A configuration that could run code: nothing of the command line it is part of is done."""


def check_hydra_keys(overrides: Iterable[Override]) -> None:
    """Refuse overrides of ``hydra`` that can name code, and ``_target_`` anywhere.

    Raises
    ------
    InputError
        One problem an override.
    """
    problems = []
    for override in overrides:
        key = override.key_or_group
        if "_target_" in key or "_target_" in str(override.value()):
            problems.append(Problem(key, "'_target_' names code, which a config may not"))
        elif key == "hydra.sweep.subdir":
            problems += subdir_problems(str(override.value()))
        elif re.match(r"hydra\b", override.package or "") or (
            re.match(r"hydra\b", key) and not _OPEN_HYDRA_KEYS.fullmatch(key)
        ):
            problems.append(
                Problem(
                    key,
                    "is not open to change, as it can run code or misplace files",
                    "of Hydra's own keys there are hydra.run.dir, hydra.sweep.dir, "
                    "hydra.sweep.subdir, hydra.mode, hydra.verbose and hydra/launcher",
                )
            )
    if problems:
        raise InputError(problems)


def subdir_problems(subdir: str) -> Iterator[Problem]:
    """Yield a problem if a job's folder would not lie inside that of its sweep."""
    path = PureWindowsPath(subdir)
    if path.anchor or ".." in path.parts or not path.parts or not subdir.isprintable():
        yield Problem(
            "hydra.sweep.subdir", f"{subdir!r} is no folder inside the sweep's", "use a plain name"
        )


class Loader:
    """Hydra's composition, with its search path built as its command line does."""

    def __init__(self, parsed: argparse.Namespace) -> None:
        JobRuntime.instance().set("name", "runner")
        Plugins.instance()  # lets plugins add to the search path
        self._config_name = parsed.config_name or CONFIG_NAME
        self._own = parsed.config_dir is not None or parsed.config_name is not None
        search_path = create_automatic_config_search_path(None, None, str(CONFIG_DIRECTORY))
        if parsed.config_dir is not None:
            search_path.prepend(
                provider="command-line",
                path=f"file://{Path(parsed.config_dir).resolve()}",
                anchor=SearchPathQuery(provider="schema"),
            )
        self._loader = ConfigLoaderImpl(config_search_path=search_path)
        if self._own:
            self._check_search_path()

    def is_group(self, override: Override) -> bool:
        """Tell whether an override chooses a config of a group."""
        return self._loader.repository.group_exists(override.key_or_group)

    def load(self, overrides: Sequence[str]) -> DictConfig:
        """Compose.

        Raises
        ------
        InputError
            If Hydra cannot.
        """
        with self._explaining():
            return self._loader.load_configuration(
                self._config_name, list(overrides), run_mode=RunMode.RUN
            )

    @contextlib.contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except yaml.MarkedYAMLError as error:
            raise InputError([yaml_problem(error)]) from error
        except (HydraException, OmegaConfBaseException) as error:
            raise InputError([explained(error, self._loader)]) from error

    def _check_search_path(self) -> None:
        """Refuse a search path before it is followed: one to a package imports that package."""
        with self._explaining():
            primary = self._loader.repository.load_config(self._config_name)
        if primary is not None and OmegaConf.select(primary.config, "hydra.searchpath"):
            raise InputError.of("hydra.searchpath", "can run code", "use --config-dir")

    def check_hydra(self, cfg: DictConfig) -> None:
        """Refuse keys of ``hydra`` in a person's configs that can name code."""
        problems = []
        for plugin in ("launcher", "sweeper"):
            target = str(OmegaConf.select(cfg, f"hydra.{plugin}._target_"))
            if not target.startswith(_PLUGIN_MODULES):
                problems.append(
                    Problem(f"hydra.{plugin}._target_", f"names code ('{target}')", "remove it")
                )
        if self._own:
            advice = f"leave it as Runner has it (defaults: [{CONFIG_NAME}, _self_])"
            packaged = Loader(argparse.Namespace(config_dir=None, config_name=None)).load([])
            for key in ("callbacks", "searchpath", "job_logging", "hydra_logging", "output_subdir",
                        "sweeper.params",
                        "job.env_set", "job.env_copy", "job.chdir"):  # fmt: skip
                theirs, ours = (
                    OmegaConf.to_container(
                        OmegaConf.create({"value": OmegaConf.select(which, f"hydra.{key}")})
                    )
                    for which in (cfg, packaged)
                )
                if theirs != ours:
                    problems.append(
                        Problem(f"hydra.{key}", "can run code or misplace files", advice)
                    )
        if problems:
            raise ForbiddenError(problems)


def explained(error: Exception, loader: ConfigLoader) -> Problem:
    """Say why Hydra cannot compose."""
    cause = error.__cause__ or error
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if isinstance(cause, OmegaConfBaseException):  # the first says what, the others where
        return Problem(cause.full_key or "config", first_line(cause))
    missing = re.search(r"Could not find '([^']+)'", str(error))
    if missing:
        group, _, name = missing[1].rpartition("/")
        options = loader.get_group_options(group) if group else []
        advice = suggest(name, options) or (f"there are {', '.join(options)}" if options else "")
        return Problem(group or "defaults", f"there is no config '{name}'", advice)
    if primary := re.search(r"Cannot find primary config '([^']+)'", str(error)):
        return Problem("--config-name", f"there is no config '{primary[1]}'")
    if nested := re.search(r"Could not override '(train/\w+)'", str(error)):
        return Problem(nested[1], "nothing is trained", "add train=fit")
    if twice := re.search(r"Multiple values for ([\w/]+)\.", str(error)):
        return Problem(twice[1], "is chosen already", f"change it without a plus: {twice[1]}=")
    return Problem("config", " ".join(lines) or str(cause))
