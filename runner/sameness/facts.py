"""What the records of two runs say differently about how they were made."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from runner.config.model_config import is_converted
from runner.record.interventions import changes_told
from runner.record.record import RunRecord
from runner.runs.configs import flat_config

_APART = ("name", "seed", "intervene")
"""Keys of the configuration that are told apart from the others."""


def differing_facts(a: RunRecord, b: RunRecord) -> Iterator[tuple[str, Any, Any]]:
    """Yield the facts that differ, each with both values, except those unique to every run.

    What interventions did comes first. Of tensors from elsewhere only that is known, not what
    computed them; a run that was made from Python has no configuration of its model.
    """
    left, right = (dict(flat_config(_told(record))) for record in (a, b))
    keys = dict.fromkeys((*left, *right))
    is_other = _is_converted(a) != _is_converted(b)
    is_from_python = not all(record.config.get("model") for record in (a, b))
    if a.is_adopted or b.is_adopted:
        keys = dict.fromkeys(["backend.name"])
    for key in sorted(keys, key=lambda key: not key.startswith("intervene.")):
        if is_other and key.startswith("config.model.") and key != "config.model.path":
            continue  # a file of another runtime has none of them
        if key == "config.model.path" and any(map(_has_own_model, (a, b))):
            continue  # it was converted for the run, and lies in its folder
        if is_from_python and key.startswith(("config", "seeding")):
            continue
        if left.get(key) != right.get(key):
            yield key, left.get(key), right.get(key)


def _has_own_model(record: RunRecord) -> bool:
    return _is_converted(record) and _model_path(record).name in record.files


def _is_converted(record: RunRecord) -> bool:
    return is_converted(str(_model_path(record)))


def _model_path(record: RunRecord) -> Path:
    model = record.config.get("model")
    return Path(str(model.get("path", "")) if isinstance(model, Mapping) else "")


def _told(record: RunRecord) -> dict[str, Any]:
    changes = changes_told(record)
    told = {
        **({"intervene": changes} if changes else {}),
        "seed": record.seed,
        "seeding": record.seeding,
        "config": {key: value for key, value in record.config.items() if key not in _APART},
        "environment": vars(record.environment),
        "backend": record.backend and vars(record.backend),
        "format": record.format,
    }
    plain = json.loads(json.dumps(told, default=vars))
    assert isinstance(plain, dict)
    return plain
