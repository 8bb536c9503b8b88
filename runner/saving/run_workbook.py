"""Writes the workbook of a run before it is published."""

from __future__ import annotations

from collections.abc import Iterable

from runner.caller_warnings import warn_caller
from runner.errors import some
from runner.file_names import PROBE, SUMMARY, WORKBOOK
from runner.record.layer_record import LayerRecord
from runner.record.publication import Publication
from runner.tables.workbook import Sheet, workbook_of
from runner.tensors import shape_text

_PLAIN = (SUMMARY, PROBE)


def add_workbook(publication: Publication, layers: Iterable[LayerRecord]) -> None:
    """Write the workbook of a run's tables, and warn about tables that do not fit.

    Parameters
    ----------
    publication
        The run, with the tables as Parquet.
    layers
        The records of the layers; for a training, those at its end.
    """
    sheets = [Sheet(name, "", "", "", f"{name}.parquet") for name in _PLAIN]
    sheets += [
        Sheet(
            tensor.name,
            tensor.kind,
            shape_text(tensor.shape),
            tensor.dtype,
            tensor.file,
        )
        for layer in layers
        for tensor in layer.tensors
        if tensor.alias_of is None
    ]
    data, left_out = workbook_of(sheets, publication.reopen)
    publication.write(WORKBOOK, data)
    if left_out:
        said = f"{len(left_out)} tables are not in {WORKBOOK}: {some(left_out)}"
        warn_caller(said)
