"""Flat configurations of runs and their differences."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from typing import Any

MOST_KEYS = 1000
"""Number of keys in which many runs may differ; a stranger's record may hold millions."""

_MOST_VALUES = 200_000  # of the keys in which fewer runs differ

_ABSENT = object()


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
        first = next(place for place, value in enumerate(columns[key]) if value is not _ABSENT)
        if first not in places:
            keys = (known for known, _ in flat_config(configs[first]))
            places[first] = {known: place for place, known in enumerate(keys)}
        return key.count("."), first, places[first][key]

    found: dict[str, str] = {}  # a key for each column of values, as text: some have no hash
    for key in sorted(columns, key=order):
        found.setdefault(json.dumps(columns[key], default=repr, sort_keys=True), key)
    return {
        key: [None if value is _ABSENT else value for value in columns[key]]
        for key in found.values()
    }


def _differing(configs: Sequence[dict[str, Any]]) -> Iterator[tuple[str, list[Any]]]:
    """Yield the keys that differ, outermost first, with their values; skips parts that are equal.

    Of the keys of one mapping, those that most configurations have come first. There are at most
    `MOST_KEYS`, or more of few configurations.
    """
    left = max(MOST_KEYS, _MOST_VALUES // max(1, len(configs)))
    waiting = deque([("", configs)])
    while waiting:
        above, parts = waiting.popleft()
        for key, _ in Counter(key for part in parts for key in part).most_common():
            values = [part.get(key, _ABSENT) for part in parts]
            if all(value == values[0] for value in values):
                continue
            nested = [value if isinstance(value, dict) else {} for value in values]
            column = [_ABSENT if own else value for own, value in zip(nested, values, strict=True)]
            if any(nested):
                waiting.append((f"{above}{key}.", nested))
            if any(value != column[0] for value in column):
                yield f"{above}{key}", column
            left -= 1
            if not left:
                return


def hashable(value: Any) -> Any:
    """Return a hashable form of a value of a configuration, for use in an index."""
    return json.dumps(value) if isinstance(value, list | dict) else value
