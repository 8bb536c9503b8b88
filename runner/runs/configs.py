"""The configuration of a run, key by key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any


def flat_config(config: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value of a nested configuration with its dotted key."""
    for key, value in config.items():
        if isinstance(value, dict) and value:
            yield from flat_config(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def hashable(value: Any) -> Any:
    """Return a value of a configuration as one that an index can hold."""
    return json.dumps(value) if isinstance(value, list | dict) else value
