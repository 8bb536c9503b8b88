"""Errors that say where a problem is, what was expected and found, and what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

_LINE = 500
_PROBLEMS = 20


def is_text(value: str) -> bool:
    """Return whether a value is text, without halves of characters or bytes in their place."""
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


def one_line(text: str) -> str:
    """Return a text with unprintable characters and terminal controls written as escapes."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def short_line(text: str) -> str:
    """Return a text in one line of at most 500 characters, cut in the middle."""
    return _cut(one_line(_cut(text, 2 * _LINE)), _LINE)


def _cut(text: str, most: int) -> str:
    """Return a text with its middle replaced by an ellipsis if it is longer than `most`."""
    if len(text) <= most:
        return text
    return f"{text[: most - most // 3 - 1]}…{text[-(most // 3) :]}"


@dataclass(frozen=True)
class Problem:
    """One problem in a user's request.

    Attributes
    ----------
    place
        Location of the problem: a key path (``model.layers.hidden.units``), a file with
        its line (``data.csv:3``), a run or a command.
    message
        What was expected and what was found.
    advice
        The next step; empty if the message already says it.
    """

    place: str
    message: str
    advice: str = ""

    def __str__(self) -> str:
        parts = [
            one_line(_cut(part, 2 * _LINE)) for part in (self.place, self.message, self.advice)
        ]
        if sum(map(len, parts)) > _LINE - 4:
            parts = [_cut(part, _LINE // 3 - 4) for part in parts]
        place, message, advice = parts
        said = f"{place}: {message}" if place else message
        return f"{said}; {advice}" if advice else said


class RunnerError(Exception):
    """The base of every error that Runner raises on purpose."""


class InputError(RunnerError, ValueError):
    """The request is invalid and was not carried out (exit code 2).

    Its text has one line for each of the first problems, and their number if there are more.

    Parameters
    ----------
    problems
        All problems found, in the order in which they should be read.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        lines = [str(problem) for problem in self.problems[:_PROBLEMS]]
        if more := len(self.problems) - len(lines):
            lines.append(f"and {more:,} more")
        super().__init__("\n".join(lines))

    @classmethod
    def of(cls, place: str, message: str, advice: str = "") -> Self:
        """Return the error that holds a single problem."""
        return cls([Problem(place, message, advice)])

    def __reduce__(self) -> tuple[type[InputError], tuple[tuple[Problem, ...]]]:
        return (type(self), (self.problems,))


class DamagedError(InputError):
    """A file of a run is missing, unreadable or invalid (exit code 2).

    When many runs are read, a run that raises this is skipped with a warning.
    """


class RunError(RunnerError, RuntimeError):
    """A run started but could not be completed (exit code 1)."""


class OutOfMemoryError(RunnerError, MemoryError):
    """There is not enough memory for the request (exit code 3)."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its class name if it has none."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]


def suggest(word: str, choices: Iterable[str]) -> str:
    """Return ``did you mean 'x'?`` for the closest choice, or an empty string.

    Letter case is ignored, so ``relu`` is found for ``RELU``.
    """
    by_folded = {choice.casefold(): choice for choice in choices}
    folded = word.casefold()
    close = difflib.get_close_matches(folded, by_folded, n=3, cutoff=0.6)
    if not close:
        return ""
    # Prefer a close match of the same length: swapped letters are the most common typo.
    best = min(close, key=lambda choice: abs(len(choice) - len(folded)))
    return f"did you mean '{by_folded[best]}'?"


def some(names: list[str], most: int = 6) -> str:
    """Return at most `most` names in one line, with the number of names left out."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
