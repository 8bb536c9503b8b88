"""Errors that say where a problem is, what was expected and found, and what to do next."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

# Keras says so in the line before its own message, which it prints in bold.
_CALLING = re.compile(r"Exception encountered when calling \S+\.call\(\)\.")
_COLOURS = re.compile(r"\x1b\[\d*m")

_SUGGESTION = "did you mean '{}'?"
_SUGGESTED = re.compile(re.escape(_SUGGESTION).replace(r"\{\}", "[^']*"))

_LINE = 500
_LONGEST_WORD = 100

SHOWN = 20
"""Number of problems of an error that are told; the others are counted and need no advice."""


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

    exit_code: ClassVar[int] = 1
    """That of a command that ends with the error."""


class InputError(RunnerError, ValueError):
    """The request is invalid and was not carried out.

    Its text has one line for each of the first problems, and their number if there are more.

    Parameters
    ----------
    problems
        All problems found, in the order in which they should be read.
    """

    exit_code = 2

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        lines = [str(problem) for problem in self.problems[:SHOWN]]
        if more := len(self.problems) - len(lines):
            lines.append(f"and {more:,} more")
        super().__init__("\n".join(lines))

    @classmethod
    def of(cls, place: str, message: str, advice: str = "") -> Self:
        """Return the error that holds a single problem."""
        return cls([Problem(place, message, advice)])

    @classmethod
    def missing(cls, place: str, message: str, requirement: str) -> Self:
        """Return the error that a package is not installed, with what to type (`installing`)."""
        return cls.of(place, message, f"type: {installing(requirement)}")

    def __reduce__(self) -> tuple[type[InputError], tuple[tuple[Problem, ...]]]:
        return (type(self), (self.problems,))


class DamagedError(InputError):
    """A file of a run is missing, unreadable or invalid.

    When many runs are read, a run that raises this is skipped with a warning.
    """


class RunError(RunnerError, RuntimeError):
    """A run started but could not be completed."""


class CallError(RunError):
    """A model cannot be called on the probe."""


class OutOfMemoryError(RunnerError, MemoryError):
    """There is not enough memory for the request."""

    exit_code = 3


def first_line(error: BaseException) -> str:
    """Return the first line of an error's own message, or its class name if it has none."""
    try:
        text = str(error)
    except Exception:  # of an error's own code
        return type(error).__name__
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > 1 and _CALLING.fullmatch(lines[0]):
        lines = [_COLOURS.sub("", line) for line in lines[1:]]
    if not lines:
        return type(error).__name__
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]


def installing(requirement: str) -> str:
    """Return what to type to install a requirement of pip, or an extra of Runner (``[sql]``)."""
    whole = f"activation-runner{requirement}" if requirement.startswith("[") else requirement
    return f'pip install "{whole}"' if re.search(r"[^\w.-]", whole) else f"pip install {whole}"


def suggest(word: str, choices: Iterable[str]) -> str:
    """Return ``did you mean 'x'?`` for the closest choice, or an empty string.

    Letter case is ignored, so ``relu`` is found for ``RELU``. Long names are not compared.
    """
    if len(word) > _LONGEST_WORD:
        return ""
    by_folded = {choice.casefold(): choice for choice in choices if len(choice) <= _LONGEST_WORD}
    folded = word.casefold()
    close = difflib.get_close_matches(folded, by_folded, n=3, cutoff=0.6)
    if not close:
        return ""
    # Prefer a close match of the same length: swapped letters are the most common typo.
    best = min(close, key=lambda choice: abs(len(choice) - len(folded)))
    return _SUGGESTION.format(by_folded[best])


def unsuggested(advice: str) -> str:
    """Return an advice without what `suggest` returned."""
    return _SUGGESTED.sub("", advice).strip()


def one_of(word: str, choices: Sequence[str]) -> str:
    """Return a suggestion, or else some of the choices; an empty string if there are none."""
    return suggest(word, choices) or (f"there are {some(choices)}" if choices else "")


def some(names: Sequence[str], most: int = 6) -> str:
    """Return at most `most` names in one line, with the number of names left out."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
