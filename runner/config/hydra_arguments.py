"""The arguments of a command line, parsed as Hydra does."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from hydra._internal.utils import get_args_parser

from runner.errors import InputError, Problem


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse a command line as Hydra does.

    Raises
    ------
    InputError
        If flags are invalid, or would load code or pickled data.
    """
    parser = get_args_parser()
    parser.error = _misused  # type: ignore[method-assign]
    parsed = parser.parse_args(arguments)
    modes = ("run", "multirun", "cfg", "info", "shell_completion")
    asked = [f"--{mode}".replace("_", "-") for mode in modes if getattr(parsed, mode)]
    problems = []
    if len(asked) > 1:
        advice = "keep one"
        if parsed.multirun and parsed.cfg:
            advice = "leave out -m: --cfg shows the configuration of one run"
        problems.append(Problem(" ".join(asked), "cannot be used together", advice))
    if parsed.resolve and not (parsed.cfg or parsed.help):
        problems.append(Problem("--resolve", "works only with --cfg or --help"))
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


def _misused(message: str) -> NoReturn:
    raise InputError.of("runner", message, "runner --help lists the arguments")
