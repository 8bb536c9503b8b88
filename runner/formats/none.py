"""No tables of tensors: a run keeps only its statistics, its effects and its record."""

from __future__ import annotations

from dataclasses import replace

from runner.formats import parquet

NONE = replace(parquet.PARQUET, order=90, stored_as="parquet", keeps_values=False)
