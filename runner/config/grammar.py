"""Hydra's grammar of overrides: parsing of overrides, and quoting of values."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser import overrides_parser, overrides_visitor
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from runner.errors import InputError, Problem

if not __debug__:
    # Hydra's parser consumes tokens inside assertions, which `python -O` removes.
    _source = Path(str(overrides_visitor.__file__))
    exec(compile(_source.read_text(), _source, "exec", optimize=0), vars(overrides_visitor))
    overrides_parser.HydraOverrideVisitor = (  # type: ignore[attr-defined]
        overrides_visitor.HydraOverrideVisitor
    )

_MOST_ENTRIES = 2000
"""Entries of a list or mapping: the time of Hydra's parser grows with their square."""

_NO_ENTRIES = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|\\.|[^][{}(),'"\\]+""", re.DOTALL)

INTEGER = re.compile(r"0|-?[1-9][0-9]*")
"""A value that is an integer in this grammar, written in the one form that `str` gives it."""


def parsed_overrides(words: Sequence[str], loader: ConfigLoader | None = None) -> list[Override]:
    """Return the parsed overrides of a command line.

    Parameters
    ----------
    words
        Overrides as typed: ``key=value``, or another form of Hydra.
    loader
        Loader that lists the configs of each group, for ``glob(...)``.

    Raises
    ------
    InputError
        With one problem per invalid override, and advice on how to type it.
    """
    parser = OverridesParser.create()
    overrides, problems = [], []
    for word in words:
        if _most_entries(word) > _MOST_ENTRIES:
            what = f"has a list or mapping of more than {_MOST_ENTRIES:,} entries"
            advice = "write it in a file of --config-dir"
            problems.append(Problem(word.partition("=")[0], what, advice))
            continue
        try:
            override = parser.parse_override(word)
            override.config_loader = loader
            if not override.key_or_group:
                problems.append(Problem(word, "has no key", "type key=value"))
            overrides.append(override)
        except (HydraException, ValueError) as error:  # a number of too many digits
            problems.append(_unreadable(word, error))
    if problems:
        raise InputError(problems)
    return overrides


def _most_entries(word: str) -> int:
    """Return the number of entries of the longest list or mapping in an override."""
    most, counts = 0, [0]
    for mark in _NO_ENTRIES.sub("", word):
        if mark in "[{(":
            counts.append(1 if mark != "(" else -sys.maxsize)
        elif mark == "," and len(counts) > 1:
            counts[-1] += 1
            most = max(most, counts[-1])
        elif mark in "]})" and len(counts) > 1:
            counts.pop()
    return most


def _unreadable(word: str, error: Exception) -> Problem:
    """Return the problem of an override that Hydra cannot parse, and how to type it."""
    key, equals, value = word.partition("=")
    if not equals or not re.fullmatch(r"[~+]{0,2}[\w./@-]+", key):
        return Problem(word, "is not key=value", "see --help for examples")
    if re.fullmatch(r"(choice|range|interval|glob|shuffle|sort|tag)\(.*\)", value, re.DOTALL):
        why = str(error).splitlines()[1:2]
        return Problem(key.lstrip("~+"), f"Hydra cannot read {value}", *why)
    advice = f"quote it twice: {quoted(key, value)}"
    if key.lstrip("+").partition(".")[0] == "intervene" and not word.isascii():
        advice = "write a pattern with letters outside ASCII in a file of --config-dir"
    elif re.fullmatch(r"\{.+:.+\}", value):
        advice = r"write the keys of a mapping without quotes, and a colon in a key as \:"
    return Problem(key.lstrip("~+"), f"Hydra cannot read the value {value}", advice)


def quoted(key: str, value: str) -> str:
    """Return an override to type, with its value quoted for the shell and for Hydra."""
    return shlex.quote(hydra_word(key, value))


def hydra_word(key: str, value: str) -> str:
    """Return an override with its value quoted for Hydra."""
    escaped = re.sub(r'\\+(?="|\Z)', lambda match: match[0] * 2, value).replace('"', '\\"')
    return f'{key}="{escaped}"'
