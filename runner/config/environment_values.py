"""Values of environment variables in a configuration, and their removal from a run's files."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from runner.errors import InputError, Problem, RunnerError, unsuggested

_PART = 10
"""Number of consecutive letters and digits of a value that count as a part of it."""
_WHOLE = 4
"""A value with fewer letters and digits is replaced only where it is a whole word."""
_SEED = re.compile(
    r"(\+{0,2}seed=)(['\"]?)\$\{(?:oc\.env:(\w+)|oc\.decode:\$\{oc\.env:(\w+)\})\}\2"
)
"""A seed from the environment, as it is typed on a command line."""
_ESCAPE = re.compile(
    r"\\+(?:[abfnrtv]|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})|.", re.DOTALL
)


@dataclass(frozen=True)
class EnvironmentValues:
    """The values of environment variables that a configuration uses, directly or indirectly.

    Attributes
    ----------
    config
        Configuration as plain data, resolved except for these values: ``${oc.env:NAME}``
        stays as text, also in a value that refers to one. A resolver call with such a value
        stays as written.
    values
        Replacement of each value in any text.
    places
        Keys whose values come from the environment.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)
    places: frozenset[str] = frozenset()

    def scrubbed(self, text: str) -> str:
        """Return a text with each value, in any spelling, and its parts replaced."""
        for value in sorted(self.values, key=len, reverse=True):
            text = _without(text, value, self.values[value])
        return text

    def hidden(self, value: Any) -> Any:
        """Return plain data with these values replaced."""
        if isinstance(value, Mapping):
            return {key: self.hidden(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.hidden(item) for item in value]
        if isinstance(value, str):
            return self.scrubbed(value)
        if isinstance(value, int | float) and len(str(value)) >= _WHOLE:
            return self.values.get(str(value), value)  # shorter numbers reveal nothing
        return value

    def arguments(self, layer: str, arguments: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """Return the arguments of a layer with these values replaced.

        Parameters
        ----------
        layer
            Path of the layer; the first part is its name in a declared model.
        arguments
            Arguments of the layer, as Keras returns them.
        """
        if arguments is None:
            return None
        above = f"model.layers.{layer.partition('/')[0]}."
        own = [place.removeprefix(above) for place in self.places if place.startswith(above)]
        names = {re.sub(r"(\.\d+)+$", "", place).rpartition(".")[2] for place in own}
        return dict(self.hidden(_named_out(arguments, names)))

    @contextlib.contextmanager
    def kept_secret(self) -> Iterator[None]:
        """Replace these values in the message of a RunnerError raised inside the context."""
        try:
            yield
        except RunnerError as error:
            if not self.values:
                raise
            raise self.told(error) from error

    def told(self, error: RunnerError) -> RunnerError:
        """Return an error with these values replaced in its message."""
        if not isinstance(error, InputError):
            return type(error)(self.scrubbed(str(error)))
        return type(error)(map(self._told, error.problems))

    def _told(self, problem: Problem) -> Problem:
        message = self.scrubbed(problem.message)
        # What is similar to a value tells about it, and means nothing beside its replacement.
        advice = problem.advice if message == problem.message else unsuggested(problem.advice)
        return replace(
            problem,
            place=self.scrubbed(problem.place),
            message=message,
            advice=self.scrubbed(advice),
        )


def with_seed_filled_in(words: Sequence[str]) -> list[str]:
    """Return a command line with the value of ``seed=${oc.env:NAME}``, as a shell would fill it in.

    A run writes its seed down, so that a file may not take it from the environment. Whoever types
    the name of the variable means its value, which is filled in if it is an integer.
    """

    def filled(match: re.Match[str]) -> str:
        value = os.environ.get(match[3] or match[4], "")
        return match[1] + value if re.fullmatch(r"-?[0-9]{1,20}", value) else match[0]

    return [_SEED.sub(filled, word) if _SEED.fullmatch(word) else word for word in words]


def _named_out(value: Any, names: set[str]) -> Any:
    """Return plain data with ``${oc.env}`` as the value of every key with one of these names."""
    if isinstance(value, Mapping):
        return {
            key: "${oc.env}" if key in names else _named_out(item, names)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_named_out(item, names) for item in value]
    return value


def _without(text: str, value: str, label: str) -> str:
    """Replace a value and its parts in a text, whatever characters are between their letters.

    Messages may quote, escape, wrap, join or truncate values, but keep the order of their
    letters and digits.
    """
    marks = _letters(value)
    wanted = "".join(letter for letter, _, _ in marks)
    if not wanted:
        return text.replace(value, label) if value.strip() else text
    if len(wanted) < _WHOLE:
        return re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", lambda _: label, text)
    before, after = value[: marks[0][1]], value[marks[-1][2] :]
    found = _letters(text)
    letters = "".join(letter for letter, _, _ in found)
    size = min(len(wanted), _PART)
    starts: dict[str, list[int]] = {}
    for start in range(len(wanted) - size + 1):
        starts.setdefault(wanted[start : start + size], []).append(start)
    spans: list[tuple[int, int]] = []
    place = 0
    while place <= len(letters) - size:
        lengths = [
            _common(wanted[start:], letters[place:])
            for start in starts.get(letters[place : place + size], ())
        ]
        if lengths:
            spans.append((found[place][1], found[place + max(lengths) - 1][2]))
        place += max(lengths, default=1)
    for begin, end in reversed(spans):
        text = text[:begin].removesuffix(before) + label + text[end:].removeprefix(after)
    return text


def _common(one: str, other: str) -> int:
    """Return the length of the common beginning of two texts."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def _letters(text: str) -> list[tuple[str, int, int]]:
    """Return the letters and digits of a text, escapes decoded, each with its start and end."""
    found = []
    for match in _ESCAPE.finditer(text):
        token = match[0]
        code = token.lstrip("\\")
        if len(token) > 1 and code[0] in "xuU":
            number = int(code[1:], 16)
            token = chr(number) if number <= 0x10FFFF else " "
        elif len(token) > 1:
            continue  # a line break, a tab
        found += [(letter, match.start(), match.end()) for letter in token.casefold()
                  if letter.isalnum()]  # fmt: skip
    return found
