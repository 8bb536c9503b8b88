"""Flat configurations of runs and their differences."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

MOST_KEYS = 1000
"""Number of keys in which many runs may differ; a stranger's record may hold millions."""

_MOST_VALUES = 200_000  # of the keys in which fewer runs differ


def flat_config(config: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value of a nested configuration with its dotted key."""
    for key, value in config.items():
        if isinstance(value, dict) and value:
            yield from flat_config(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def differing_values(configs: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the values of the dotted keys in which configurations differ, outermost first.

    A key that only some configurations have is included, with ``None`` in the others. Of
    several keys with the same values in all configurations, such as a key that refers to
    another, only the first is returned.
    """
    columns = dict(_differing(configs))
    places: dict[int, dict[str, int]] = {}

    def order(key: str) -> tuple[int, int, int]:
        # By depth, then by its place in the first configuration that has the key.
        first = next(iter(columns[key]))
        if first not in places:
            keys = (known for known, _ in flat_config(configs[first]))
            places[first] = {known: place for place, known in enumerate(keys)}
        return key.count("."), first, places[first][key]

    found: dict[str, str] = {}  # a key for each column of values, as text: some have no hash
    for key in sorted(columns, key=order):
        text = json.dumps([*columns[key].items()], default=repr, sort_keys=True)
        found.setdefault(text, key)
    return {key: list(map(columns[key].get, range(len(configs)))) for key in found.values()}


def _differing(configs: Sequence[dict[str, Any]]) -> Iterator[tuple[str, dict[int, Any]]]:
    """Yield the keys that differ, outermost first, with their values; skips parts that are equal.

    The values are those of the configurations that have the key, by their number: a key that few
    of many have costs little. Of the keys of one mapping, those that most configurations have
    come first. There are at most `MOST_KEYS`, or more of few configurations.
    """
    left = max(MOST_KEYS, _MOST_VALUES // max(1, len(configs)))
    waiting = deque([("", dict(enumerate(configs)))])
    while waiting:
        above, parts = waiting.popleft()
        columns: dict[str, dict[int, Any]] = {}
        for number, part in parts.items():
            for key, value in part.items():
                columns.setdefault(key, {})[number] = value
        for key, values in sorted(columns.items(), key=lambda item: -len(item[1])):
            if len(values) == len(configs) and _are_equal(values):
                continue
            nested = {
                number: own for number, own in values.items() if isinstance(own, dict) and own
            }
            column = {no: own for no, own in values.items() if no not in nested}
            if nested:
                waiting.append((f"{above}{key}.", nested))
            if column and not (len(column) == len(configs) and _are_equal(column)):
                yield f"{above}{key}", column
            left -= 1
            if not left:
                return


def _are_equal(values: dict[int, Any]) -> bool:
    first = next(iter(values.values()))
    return all(value == first for value in values.values())


def hashable(value: Any) -> Any:
    """Return a hashable form of a value of a configuration, for use in an index."""
    return json.dumps(value) if isinstance(value, list | dict) else value
