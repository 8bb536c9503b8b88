"""Parquet with an additional workbook for Excel."""

from __future__ import annotations

from dataclasses import replace

from runner.formats import parquet

XLSX = replace(parquet.PARQUET, order=40, stored_as="parquet", has_workbook=True)
