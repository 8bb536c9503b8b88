"""Validation of a command line and composition of its experiments, before Hydra runs."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, read_write

from runner.config.choices import checked_choice, each_choice, first_value, no_sweep, own_part
from runner.config.combinations import check_sweeps, combined, jobs_of, words_of
from runner.config.composition import Composition, composition_of
from runner.config.environment_reading import resolved_value
from runner.config.environment_values import with_seed_filled_in
from runner.config.grammar import hydra_word, parsed_overrides
from runner.config.hydra_arguments import parse_arguments
from runner.config.hydra_keys import ForbiddenError, check_hydra_keys, subdir_problems
from runner.config.job_folder import check_not_secret
from runner.config.loading import Loader, check_names
from runner.config.precision import PRECISION_KEYS
from runner.config.resolve import register_resolvers
from runner.config.yaml_files import check_yaml_files
from runner.errors import InputError, Problem
from runner.store_urls import RunPlace, StoreUrl, runs_place

_ADDING = re.compile(
    rf"^(?=[\w./@-]+=\{{|({'|'.join(map(re.escape, PRECISION_KEYS))})=|intervene\.)"
)
"""The beginning of an override that may add keys."""


@dataclass(frozen=True)
class Asked:
    """A validated command line.

    Attributes
    ----------
    jobs
        Overrides of every run, without those of ``hydra``.
    is_sweep
        Whether the runs are a sweep, possibly of a single run.
    folder
        Folder or URL that the run or the sweep is published in.
    folder_word
        Override that sets this folder explicitly.
    is_dry
        Whether it is a dry run, which writes nothing.
    cfg
        Hydra's configuration of the run; of a sweep, with the first of all values.
    loader
        Loader of the configuration.
    overrides
        Overrides of the command line, as typed.
    """

    jobs: Sequence[tuple[str, ...]]
    is_sweep: bool
    folder: RunPlace
    folder_word: str
    is_dry: bool
    cfg: DictConfig
    loader: Loader
    overrides: Sequence[str]

    @property
    def words(self) -> list[str]:
        """The overrides, and that of the folder: every process must use the same one."""
        return with_more(self.overrides, self.overrides, self.folder_word)

    def composition(self) -> Composition:
        """Return the experiment of a single run.

        Raises
        ------
        InputError
            If it is invalid.
        """
        return _composition_of(self.cfg)


@contextlib.contextmanager
def _depth_bounded() -> Iterator[None]:
    try:
        yield
    except RecursionError as error:
        raise InputError.of("config", "is nested too deeply to be read") from error


@_depth_bounded()
def admit(parsed: argparse.Namespace, run_id: str) -> tuple[Loader, list[Override]]:
    """Check that a command line and its files cannot run code, raise InputError otherwise.

    This is needed even where Hydra only shows a help page.

    Returns
    -------
    loader
        Loader of the command line's configuration.
    overrides
        The parsed overrides.

    Raises
    ------
    InputError
        For keys of Hydra that may not be set, and files that are not configurations.
    """
    register_resolvers(run_id)
    check_hydra_keys(parsed_overrides(parsed.overrides))
    if parsed.config_dir is not None:
        check_yaml_files(Path(parsed.config_dir))
        check_names(Path(parsed.config_dir))
    loader = Loader(parsed)
    overrides = parsed_overrides(parsed.overrides, loader.hydra_loader)
    check_sweeps(overrides)
    unnamed = [
        o for o in overrides if loader.is_group(o) and not o.is_delete() and o.value() is None
    ]
    if unnamed:
        raise InputError(
            Problem(
                o.key_or_group,
                "must name a config, found null",
                f"for none, type ~{o.key_or_group}"
                if o.key_or_group in ("loss", "optimizer")
                else "leave it out",
            )
            for o in unnamed
        )
    if loader.has_own_files:
        loader.chosen([first_value(o) for o in overrides if loader.is_group(o)])
    return loader, overrides


@_depth_bounded()
def validate(parsed: argparse.Namespace, run_id: str) -> Asked:
    """Compose and check the experiments of a command line, before Hydra runs.

    Parameters
    ----------
    parsed
        Arguments of Hydra. For a sweep, every chosen config and the first of the values are
        checked here; each job is checked again when it runs, and an invalid job does not
        stop the others.
    run_id
        Id of this invocation, for the names of folders.

    Returns
    -------
    Asked
        The validated command line.

    Raises
    ------
    InputError
        With all problems found; for a sweep, only if every choice is invalid.
    """
    loader, overrides = admit(parsed, run_id)
    try:  # as Hydra composes a whole sweep
        whole = loader.load(merging(parsed.overrides), RunMode.MULTIRUN)
    except ForbiddenError:
        raise
    except InputError:
        whole = None  # found again below, together with all other problems
    multirun = parsed.multirun or (
        whole is not None and resolved_value(whole, "hydra.mode") is RunMode.MULTIRUN
    )
    if multirun and whole is not None:
        overrides = combined([*_params(loader, whole), *overrides])
        check_sweeps(overrides)
    groups = [override for override in overrides if loader.is_group(override)]
    values = [override for override in overrides if not loader.is_group(override)]
    problems: dict[Problem, None] = {}
    cfg = None
    sweeps = [override for override in overrides if override.is_sweep_override()]
    for chosen in each_choice(groups):
        try:
            cfg = checked_choice(loader, chosen, values, None if sweeps else whole)
        except ForbiddenError:
            raise
        except InputError as error:
            problems |= dict.fromkeys(error.problems)
    if cfg is None:
        raise InputError(problems)
    if not multirun and (problems := problems or dict.fromkeys(map(no_sweep, sweeps))):
        raise InputError(problems)
    place = "hydra.sweep.dir" if multirun else "hydra.run.dir"
    folder = str(resolved_value(cfg, place))
    subdir = str(cfg.hydra.sweep._get_node("subdir")._value())
    if multirun and sweeps and "${" not in subdir:
        raise InputError.of(
            "hydra.sweep.subdir",
            f"'{subdir}' would be the folder of every run",
            "put the job's number in it: hydra.sweep.subdir='${hydra.job.num}'",
        )
    words = [str(each.input_line) for each in overrides if not each.is_hydra_override()]
    jobs = jobs_of(parsed_overrides(merging(words), loader.hydra_loader))
    target = runs_place(folder, place)
    named = {override.key_or_group for override in overrides}
    in_files = loader.has_own_files and not named & {"hydra.sweep.subdir", "hydra.sweep", "hydra"}
    if multirun and in_files:
        first = _first_job(cfg)
        check_not_secret(first, "hydra.sweep.subdir")
        if problems := dict.fromkeys(
            subdir_problems(str(resolved_value(first, "hydra.sweep.subdir")))
        ):
            raise InputError(problems)
    if not named & {place, place.rpartition(".")[0], "hydra"}:
        _check_own_choice(loader, cfg, target, place)
    with read_write(cfg.hydra):
        cfg.hydra.mode = RunMode.MULTIRUN if multirun else RunMode.RUN
        shown = target if isinstance(target, StoreUrl) else target.absolute()
        cfg.hydra.runtime.output_dir = str(shown).replace("${", r"\${")
    word, dry = hydra_word(place, folder), bool(cfg.dry_run)
    return Asked(jobs, multirun, target, word, dry, cfg, loader, parsed.overrides)


def _check_own_choice(loader: Loader, cfg: DictConfig, folder: RunPlace, place: str) -> None:
    """Check that a folder that a file chooses is below the working directory, and no secret."""
    advice = f"choose it on the command line: {place}=..."
    if not str(folder).isprintable():  # a line break would end a comment in a batch script
        raise InputError.of(
            place, f"{str(folder)!r} holds characters that cannot be printed", advice
        )
    outside = isinstance(folder, StoreUrl) or not Path(os.path.realpath(folder)).is_relative_to(
        os.path.realpath(".")
    )
    if outside:
        message = f"a file can only choose a folder below the working directory, found {folder}"
        raise InputError.of(place, message, advice)
    if loader.has_own_files:
        check_not_secret(_first_job(cfg), place)


def _first_job(cfg: DictConfig) -> DictConfig:
    """Return the configuration of a sweep with what is known only in its first job."""
    plain: Any = OmegaConf.to_container(cfg, resolve=False)
    plain["hydra"]["job"].update(num=0, id="0", override_dirname="")
    first: DictConfig = OmegaConf.create(plain)
    return first


def merging(words: Sequence[str]) -> list[str]:
    """Return overrides in which a mapping may add keys to an existing mapping.

    Hydra requires ``++`` for that (``capture.reduce={conv_1: mean}``), as for a key that does
    not exist. `validate` has already refused keys that do not exist, but for the keys of every
    model, which its file need not have.
    """
    return [_ADDING.sub("++", word) for word in words]


def compose_one(arguments: Sequence[str], run_id: str) -> tuple[Composition, RunPlace]:
    """Compose one experiment without Hydra's command line, for the Python API.

    Returns
    -------
    composition
        The experiment.
    folder
        Folder or URL that its run is published in.

    Raises
    ------
    InputError
        As in `validate`.
    """
    asked = asked_for(arguments, run_id)
    return asked.composition(), asked.folder


def asked_for(arguments: Sequence[str], run_id: str) -> Asked:
    """Compose and check what a command line asks for, as in `validate`."""
    return validate(parse_arguments(with_seed_filled_in(arguments)), run_id)


def with_more(arguments: Sequence[str], overrides: Sequence[str], *more: str) -> list[str]:
    """Return a command line with more overrides, inserted after those that it has."""
    words = list(arguments)
    place = words.index(overrides[-1]) + 1 if overrides else len(words)
    said = {word.partition("=")[0] for word in words if "${" not in word}
    new = [word for word in more if word.partition("=")[0] not in said]
    return [*words[:place], *new, *words[place:]]


def _params(loader: Loader, cfg: DictConfig) -> list[Override]:
    """Return the overrides in ``hydra.sweeper.params``, checked like those of a command line."""
    sweeper: Any = OmegaConf.to_container(cfg.hydra.sweeper, resolve=False)
    params = sweeper.get("params")
    if not isinstance(params, Mapping | None):
        raise InputError.of(
            "hydra.sweeper.params", f"expected a mapping of keys to values, found {params!r}"
        )
    overrides = parsed_overrides(words_of(params), loader.hydra_loader)
    if problems := [
        Problem(f"hydra.sweeper.params.{each.key_or_group}", "is Hydra's own key, not a run's")
        for each in overrides
        if re.match(r"hydra\b", each.key_or_group) or each.package
    ]:
        raise ForbiddenError(problems)
    check_hydra_keys(overrides)
    return overrides


def first_job(parsed: argparse.Namespace, asked: Asked) -> Composition:
    """Compose the first run of a sweep.

    Parameters
    ----------
    parsed
        Arguments of the sweep.
    asked
        Result of `validate` for these arguments.

    Raises
    ------
    InputError
        If it cannot be composed.
    """
    words = [word for word in parsed.overrides if word.lstrip("+~").startswith("hydra")]
    return _composition_of(asked.loader.load([*asked.jobs[0], *words]))


def _composition_of(cfg: DictConfig) -> Composition:
    HydraConfig.instance().set_config(cfg)
    return composition_of(own_part(cfg), OmegaConf.masked_copy(cfg, ["hydra"]))
