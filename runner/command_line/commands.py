"""All commands by name: those of `runner.commands`, and of other packages."""

from __future__ import annotations

import argparse
import inspect
import warnings
from collections.abc import Sequence
from typing import NoReturn

from runner.command_line.command import Command
from runner.command_line.messages import plain_warnings, tell
from runner.errors import InputError, RunnerError, suggest
from runner.registry import Registry

COMMANDS: Registry[Command] = Registry(
    "runner.commands", "command", lambda value: isinstance(value, Command)
)
"""All commands, by the first word of their command line."""


def main(arguments: Sequence[str]) -> int:
    """Run one command, whose name is the first argument, and return its exit code."""
    name, *rest = arguments
    try:
        with plain_warnings():
            warnings.simplefilter("always", UserWarning)
            command = _named(name)
            code = command.run(_parser(name, command).parsed(rest))
            return 0 if code is None else int(code)
    except (RunnerError, MemoryError) as error:
        return tell(error)


def listed() -> list[str]:
    """Return a line for each command, for the help of all; the code of packages is not run."""
    lines = []
    for name in COMMANDS:
        own = COMMANDS[name] if name in COMMANDS.own else None
        usage, about = (own.usage, own.about) if own else ("", "")
        lines.append(f"{f'{name} {usage}':34} {about}".rstrip())
    return lines


def _named(name: str) -> Command:
    if name not in COMMANDS:
        names = list(COMMANDS)
        advice = suggest(name, names) or f"the commands are {', '.join(names)}"
        raise InputError.of(name, "unknown command", advice)
    return COMMANDS[name]


def _parser(name: str, command: Command) -> _Parser:
    about = (inspect.getdoc(command.run) or command.about).rstrip(".")
    parser = _Parser(prog=f"runner {name}", description=about, allow_abbrev=False)
    command.arguments(parser)
    return parser


class _Parser(argparse.ArgumentParser):
    """A parser that raises InputError for invalid arguments."""

    def error(self, message: str) -> NoReturn:
        raise InputError.of(self.prog, message, f"{self.prog} --help lists the arguments")

    def parsed(self, words: Sequence[str]) -> argparse.Namespace:
        """Return the arguments, in any order; raise InputError for an unknown one."""
        known, unknown = self.parse_known_intermixed_args(words)
        if unknown:
            word = unknown[0].partition("=")[0]
            advice = suggest(word, self._option_string_actions)
            raise InputError.of(
                self.prog,
                f"unknown argument '{word}'",
                advice or f"{self.prog} --help lists the arguments",
            )
        assert known is not None
        return known
