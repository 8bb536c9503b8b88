"""From Hydra's arguments to a validated experiment; the only module that knows OmegaConf."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.core.utils import setup_globals
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from runner.config import DeclaredModel, ExperimentConfig, parse
from runner.errors import InputError, Problem, suggest
from runner.loading import CONFIG_DIRECTORY, Loader, check_hydra_keys
from runner.resolve import environment_as_text, resolved, source_of
from runner.yaml_files import check_yaml_files


@dataclass(frozen=True)
class Composition:
    """One experiment as composed.

    Attributes
    ----------
    experiment
        Validated and typed.
    config
        The same as plain data, interpolations resolved, ``${oc.env:NAME}`` left as text.
    overrides
        What the command line changed.
    files
        Hydra's account of it: ``.hydra/config.yaml`` and its siblings.
    paired
        A packaged experiment that shows this model a probe that fits it, if there is one.
    """

    experiment: ExperimentConfig
    config: Mapping[str, Any]
    overrides: tuple[str, ...]
    files: Mapping[str, bytes]
    paired: str | None = None


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse a command line as Hydra does.

    Raises
    ------
    InputError
        For flags of Hydra that would load code or pickled data.
    """
    parsed = get_args_parser().parse_args(arguments)
    problems = []
    if parsed.experimental_rerun is not None:
        problems.append(
            Problem("--experimental-rerun", "loads pickled data, which can run code", "use rerun")
        )
    if parsed.config_path is not None:
        problems.append(Problem("--config-path", "replaces Runner's configs", "use --config-dir"))
    if parsed.config_dir is not None and not Path(parsed.config_dir).is_dir():
        problems.append(Problem("--config-dir", f"no folder '{parsed.config_dir}'"))
    if problems:
        raise InputError(problems)
    return parsed


def validate(parsed: argparse.Namespace, run_id: str) -> int:
    """Compose and check what a command line asks for, before Hydra does anything.

    Parameters
    ----------
    parsed
        Hydra's arguments. Of a sweep, the first value of each choice is checked here and
        every job by itself.
    run_id
        Id of this invocation, for the names of folders.

    Returns
    -------
    int
        How many jobs it asks for; 1 for a single run.

    Raises
    ------
    InputError
        With everything found wrong.
    """
    register_resolvers(run_id)
    overrides = _parsed_overrides(parsed.overrides)
    check_hydra_keys(overrides)
    if parsed.config_dir is not None:
        check_yaml_files(Path(parsed.config_dir))
    loader = Loader(parsed)
    chosen = [_first(override) for override in overrides if loader.is_group(override)]
    values = [override for override in overrides if not loader.is_group(override)]
    base = loader.load(chosen)
    loader.check_hydra(base)
    problems = _check_parameters(base, values)
    try:
        experiment_of(_own_part(loader.load([*chosen, *map(_forced, values)])))
    except InputError as error:
        known = {problem.place for problem in problems}
        problems += [problem for problem in error.problems if problem.place not in known]
    if problems := problems or _check_added(base, values):
        raise InputError(problems)
    sweeps = [override for override in overrides if override.is_sweep_override()]
    return math.prod(sum(1 for _ in override.sweep_iterator()) for override in sweeps)


def compose(arguments: Sequence[str], run_id: str) -> tuple[Composition, Path]:
    """Compose one experiment without Hydra's command line, as the Python API does.

    Returns
    -------
    composition
        The experiment.
    folder
        Where its run is to be published.

    Raises
    ------
    InputError
        As `validate`.
    """
    parsed = parse_arguments(list(arguments))
    validate(parsed, run_id)
    cfg = Loader(parsed).load(parsed.overrides)
    composition = _composition(_own_part(cfg), OmegaConf.masked_copy(cfg, ["hydra"]))
    return composition, Path(str(OmegaConf.select(cfg, "hydra.run.dir")))


def job_composition(cfg: DictConfig) -> Composition:
    """Return the composition of the job that Hydra is running.

    Parameters
    ----------
    cfg
        What Hydra gives to a job.
    """
    return _composition(cfg, HydraConfig.instance().cfg)


def _composition(own: DictConfig, hydra: Any) -> Composition:
    overrides = list(OmegaConf.select(hydra, "hydra.overrides.task"))
    model = OmegaConf.select(hydra, "hydra.runtime.choices.model")
    paired = (CONFIG_DIRECTORY / "experiment" / f"{model}.yaml").is_file()
    return Composition(
        experiment=experiment_of(own),
        config=environment_as_text(own),
        overrides=tuple(overrides),
        files={
            ".hydra/config.yaml": OmegaConf.to_yaml(own).encode(),
            ".hydra/hydra.yaml": OmegaConf.to_yaml(hydra).encode(),
            ".hydra/overrides.yaml": OmegaConf.to_yaml(OmegaConf.create(overrides)).encode(),
        },
        paired=model if paired else None,
    )


def experiment_of(cfg: DictConfig) -> ExperimentConfig:
    """Cross the boundary: from what Hydra composed to a typed experiment.

    Raises
    ------
    InputError
        With every problem under the key that a person can change: where a value came
        by an interpolation, the key that it came from.
    """
    plain, problems = resolved(cfg)
    try:
        experiment = parse(plain)
    except InputError as error:
        unresolved = {problem.place for problem in problems}
        problems += [
            Problem(source_of(cfg, problem.place), problem.message, problem.advice)
            for problem in error.problems
            if not any(place.startswith(problem.place) for place in unresolved)
        ]
    if problems:
        raise InputError(dict.fromkeys(problems))
    return experiment


def _own_part(cfg: DictConfig) -> DictConfig:
    return OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])


def register_resolvers(run_id: str) -> None:
    """Tell OmegaConf the functions that ``conf/config.yaml`` uses."""
    setup_globals()
    OmegaConf.register_new_resolver("runner.id", lambda: run_id, replace=True)
    OmegaConf.register_new_resolver("runner.short", _short, replace=True)


def _parsed_overrides(words: Sequence[str]) -> list[Override]:
    parser = OverridesParser.create()
    overrides, problems = [], []
    for word in words:
        try:
            overrides.append(parser.parse_override(word))
        except HydraException:
            problems.append(_unreadable(word))
    if problems:
        raise InputError(problems)
    return overrides


def _unreadable(word: str) -> Problem:
    """Say how to type a value that Hydra's grammar does not take as it stands."""
    key, equals, value = word.partition("=")
    if not equals or not re.fullmatch(r"[~+]{0,2}[\w./@-]+", key):
        return Problem(word, "is not key=value", "see --help for examples")
    quoted = value.strip("'\"").replace("\\", "\\\\").replace('"', '\\"')
    return Problem(
        key, f"Hydra cannot read the value {value}", f"""quote it twice: '{key}="{quoted}"'"""
    )


def _first(override: Override) -> str:
    """Return an override as typed; of a sweep, with the first of its values."""
    if override.is_sweep_override():
        return f"{_key(override)}={next(override.sweep_string_iterator())}"
    return str(override.input_line)


def _forced(override: Override) -> str:
    """Return an override so that it is composed even where it adds a key."""
    line = _first(override)
    if override.type is OverrideType.DEL or line.startswith("++"):
        return line
    return "++" + line.lstrip("+")


def _key(override: Override) -> str:
    sign = {OverrideType.ADD: "+", OverrideType.FORCE_ADD: "++"}.get(override.type, "")
    return sign + override.get_key_element().lstrip("+~")


def _is_new(base: DictConfig, override: Override) -> bool:
    """Tell whether a key is not in the configuration before the command line's values."""
    parent, _, name = override.key_or_group.rpartition(".")
    node = OmegaConf.select(base, parent) if parent else base
    return not isinstance(node, DictConfig) or node._get_node(name) is None


def _check_parameters(base: DictConfig, values: Iterable[Override]) -> list[Problem]:
    """Refuse keys of a declared model that are no parameters of it."""
    model = base.get("model")
    if not isinstance(model, DictConfig) or "layers" not in model:
        return []
    others = [str(key) for key in model if key not in DeclaredModel.model_fields]
    text = OmegaConf.to_yaml(base)
    parameters = [key for key in others if re.search(r"\$\{model\." + re.escape(key) + r"\b", text)]
    known = [*parameters, *DeclaredModel.model_fields]
    problems = [
        Problem(f"model.{key}", "unknown key: nothing refers to it", suggest(key, known))
        for key in others
        if key not in parameters
    ]
    for override in values:
        parts = override.key_or_group.split(".")
        if parts[0] == "model" and len(parts) == 2 and parts[1] not in known:
            advice = suggest(parts[1], known) or f"the model's keys are {', '.join(known)}"
            problems.append(Problem(override.key_or_group, "unknown key", advice))
    return problems


def _check_added(base: DictConfig, values: Iterable[Override]) -> list[Problem]:
    """Ask for the plus with which Hydra adds a key."""
    return [
        Problem(
            override.key_or_group,
            "is not in the configuration yet",
            f"add it with a plus: +{override.input_line}",
        )
        for override in values
        if override.type is OverrideType.CHANGE
        and not override.key_or_group.startswith("hydra.")
        and _is_new(base, override)
    ]


def _short(overrides: str) -> str:
    """Return a sweep job's overrides short and safe enough for a folder's name."""
    parts = [part.rpartition(".")[2] for part in overrides.split(",") if part]
    return re.sub(r"[^\w=,.+-]", "_", ",".join(parts))[:80].rstrip(".")
