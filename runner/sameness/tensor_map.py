"""A file that says which tensors of two runs belong together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from runner.config.yaml_files import NestedError, loaded, text_problems
from runner.errors import SHOWN, InputError, Problem, first_line, suggest
from runner.record.layer_record import TensorRecord
from runner.regular_files import read_at_most, write_in_place
from runner.sameness.matching import Match
from runner.sameness.rearrangement import Rearrangement, parsed

_BYTES = 1_000_000
_CAPTURE = "{}"
_KEYS = {"to", "axes"}


def read_map(
    path: Path, mine: Sequence[TensorRecord], theirs: Sequence[TensorRecord]
) -> list[Match]:
    """Return the pairs of tensors that a map names.

    A map is a YAML mapping from a name in the first run to the name in the second. ``{}`` in both
    stands for the same text without ``/``. Where axes have another order, the value is
    ``{to: name, axes: chw->hwc}``, with a letter for each axis, in the second run and in the first.

    Parameters
    ----------
    path
        The file.
    mine, theirs
        The tensors of the two runs.

    Raises
    ------
    InputError
        With all problems: if it is not such a mapping, a key is there twice, an entry matches
        no tensor, two tensors have the same one, or shapes do not fit.
    """
    entries = _entries(path)
    known: dict[tuple[str, str], TensorRecord] = {
        (tensor.kind, tensor.name): tensor for tensor in theirs
    }
    problems: list[Problem] = []
    found: dict[tuple[str, str], Match] = {}
    for pattern, value in entries.items():
        place = f"{path}: {pattern}"
        target, axes = (
            (value["to"], value.get("axes")) if isinstance(value, dict) else (value, None)
        )
        pairs = [*_named(pattern, target, mine, known)]
        if len(problems) < SHOWN:  # to suggest names takes time
            problems += _name_problems(place, pattern, target, pairs, mine, theirs)
        for one, other in pairs:
            if other is None:
                continue
            try:
                way = _way(axes, one, other)
            except ValueError as error:
                problems.append(Problem(place, f"{one.name}: {error}"))
                continue
            found[one.kind, one.name] = Match(one, other, way, "map")
    if problems := problems or [*_shared_targets(path, found.values())]:
        raise InputError(problems)
    return list(found.values())


def _shared_targets(path: Path, matches: Iterable[Match]) -> Iterator[Problem]:
    """Yield a problem for each tensor of the second run that stands for several of the first."""
    first: dict[tuple[str, str], Match] = {}
    for match in matches:
        other = first.setdefault((match.b.kind, match.b.name), match)
        if other is not match:
            what = f"both {other.a.name} and {match.a.name} are '{match.b.name}'"
            yield Problem(str(path), what, "name another tensor, or leave one out")


def write_map(path: Path, matches: Sequence[Match]) -> None:
    """Write a map of pairs that were found; each line ends with what tells them.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    lines = ["# A name of the first run: the name of the second. Check the pairs found by order.\n"]
    for match in dict.fromkeys(matches):
        value: Any = match.b.name
        if match.rearranged.moves:
            value = {"to": value, "axes": str(match.rearranged)}
        lines.append(f"{_yaml(match.a.name)}: {_yaml(value)}  # {match.how}\n")
    try:
        write_in_place("".join(dict.fromkeys(lines)).encode(), path)
    except OSError as error:
        raise InputError.of("--map", f"{path} cannot be written: {error.strerror}") from error


def _yaml(value: Any) -> str:
    """Return a text or a mapping of texts as YAML, in one line."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    return str(text).removesuffix("\n").removesuffix("\n...")


def _entries(path: Path) -> Mapping[str, Any]:
    text = read_at_most(path, _BYTES, "--map").decode("utf-8", errors="replace")
    try:
        problems = [*text_problems(path, text)]
        found = loaded(path, text) if not problems else {}
    except NestedError as error:
        raise InputError.of(str(path), "is nested too deeply to be read") from error
    except yaml.YAMLError as error:
        raise InputError.of(str(path), f"is not YAML: {first_line(error)}") from error
    if problems:
        raise InputError(problems)
    if not isinstance(found, dict) or not all(map(_is_entry, found.items())):
        raise InputError.of(
            str(path),
            "expected a mapping from names of the first run to names of the second",
            "such as 'hidden: fc1', or 'conv: {to: features, axes: chw->hwc}'",
        )
    return found


def _is_entry(item: tuple[Any, Any]) -> bool:
    name, value = item
    if isinstance(value, dict):
        texts = all(isinstance(text, str) for text in value.values())
        return isinstance(name, str) and "to" in value and {*value} <= _KEYS and texts
    return isinstance(name, str) and isinstance(value, str)


def _named(
    pattern: str,
    target: str,
    mine: Sequence[TensorRecord],
    theirs: Mapping[tuple[str, str], TensorRecord],
) -> Iterator[tuple[TensorRecord, TensorRecord | None]]:
    """Yield the tensors that a pattern matches, each with the one that its target names."""
    for tensor in mine:
        texts = _captured(pattern, tensor.name)
        if texts is not None:
            name = target
            for text in texts:
                name = name.replace(_CAPTURE, text, 1)
            yield tensor, theirs.get((tensor.kind, name))


def _captured(pattern: str, name: str) -> list[str] | None:
    """Return what each ``{}`` of a pattern stands for in a name; ``None`` if it does not match.

    The first ones are as long as possible. A regular expression with many of them could take
    hours; here, each part between them has its last place in the name.
    """
    first, *parts = pattern.split(_CAPTURE)
    if not parts:
        return [] if name == pattern else None
    begin, end = len(first), len(name) - len(parts[-1])
    if end <= begin or not (name.startswith(first) and name.endswith(parts[-1])):
        return None
    found: list[str] = []
    for part in reversed(parts[:-1]):
        at = name.rfind(part, begin, end - 1)
        if at < 0:
            return None
        found.insert(0, name[at + len(part) : end])
        end = at
    found.insert(0, name[begin:end])
    return found if all(text and "/" not in text for text in found) else None


def _name_problems(
    place: str,
    pattern: str,
    target: str,
    pairs: Sequence[tuple[TensorRecord, TensorRecord | None]],
    mine: Sequence[TensorRecord],
    theirs: Sequence[TensorRecord],
) -> Iterator[Problem]:
    if pattern.count(_CAPTURE) != target.count(_CAPTURE):
        yield Problem(place, f"'{pattern}' and '{target}' have different numbers of {{}}")
    elif not pairs:
        names = [tensor.name for tensor in mine]
        yield Problem(place, "the first run has no such tensor", suggest(pattern, names))
    elif all(other is None for _, other in pairs):
        names = [tensor.name for tensor in theirs]
        yield Problem(place, f"the second run has no '{target}'", suggest(target, names))


def _way(axes: str | None, one: TensorRecord, other: TensorRecord) -> Rearrangement:
    if axes is not None:
        return parsed(axes, other.shape, one.shape)
    plain = "".join(chr(ord("a") + axis) for axis in range(len(other.shape)))
    return parsed(f"{plain}->{plain}", other.shape, one.shape)
