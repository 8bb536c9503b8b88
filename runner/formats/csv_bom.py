"""CSV with the byte-order mark that Excel needs to read Korean."""

from __future__ import annotations

from dataclasses import replace

from runner.formats import csv

CSV_BOM = replace(csv.CSV, order=20, stored_as="csv", begins_with=b"\xef\xbb\xbf")
