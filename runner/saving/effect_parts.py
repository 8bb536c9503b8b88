"""The table of the effects of interventions on each class or sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import pyarrow as pa

from runner.config.effects_config import By
from runner.record.effect_record import PART_TYPES, EffectRecord


def table_of_parts(parts: Sequence[tuple[tuple[By, str], EffectRecord]]) -> pa.Table:
    """Return a table with a row for each part of the samples; what is not known is NaN."""
    columns = {
        "by": pa.array([by for (by, _), _ in parts], pa.string()),
        "key": pa.array([key for (_, key), _ in parts], pa.string()),
    }
    for field in fields(EffectRecord):
        values = [getattr(effect, field.name) for _, effect in parts]
        is_text = PART_TYPES[field.name] == "string"
        missing = "" if is_text else float("nan")
        kept = [missing if value is None else value for value in values]
        columns[field.name] = pa.array(kept, pa.string() if is_text else pa.float64())
    return pa.table(columns)
