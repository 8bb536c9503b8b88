"""The ways to get at activations that are compared."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.case import Case
from benchmarks.floor import pieces
from benchmarks.plain import plain_pass
from benchmarks.timing import Way
from runner.capture.model_libraries import library_of
from runner.probe.memory_sources import as_probe
from runner.record.header import Header
from runner.record.publication import Publication
from runner.saving.saving import save
from runner.showing.settings import Settings
from runner.showing.showing import Showing
from runner.stores.local_draft import LocalDraft
from runner.tables.writing import TableWriter

PLAIN = "plain forward"


def ways(case: Case, rows: int, backend: str, *, all_of_them: bool) -> dict[str, Way]:
    """Return every way by its name; each shows the same samples to the same model.

    Parameters
    ----------
    case
        What to measure.
    rows
        Samples to show.
    backend
        The framework that computes.
    all_of_them
        Whether to add CSV and the ways of a sub-model, which take many times as long.
    """
    model = case.build()
    x = case.probe(rows)
    size = case.batch_size
    forward = plain_pass(model, case.shape, backend)

    def plain() -> None:
        for start in range(0, rows, size):
            forward(x[start : start + size])

    def settings(table_format: str) -> Settings:
        return Settings(case.options, table_format)

    def shown(showing: Showing) -> None:
        with showing.capture.library.exact():
            deque(showing, maxlen=0)

    def capture() -> None:
        with library_of(model).exact():
            shown(Showing(model, as_probe(x), settings("arrow")))

    prepared = Showing(model, as_probe(x), settings("arrow"))

    def again() -> None:
        prepared.renew()
        shown(prepared)

    def saved(table_format: str) -> Way:
        def way() -> Callable[[], None]:
            folder = tempfile.TemporaryDirectory()
            save(model, as_probe(x), _draft(folder.name), Header("0"), settings(table_format))
            return folder.cleanup

        return way

    found: dict[str, Way] = {PLAIN: plain, "capture only": capture, "capture again": again}
    found["arrow"] = saved("arrow")
    found["parquet"] = saved("parquet")
    first = Showing(model, as_probe(x[:size]), settings("arrow"))
    found |= pieces(first.first, -(-rows // first.batch_size))
    if not case.others:
        return found
    found["bare arrow writer"] = lambda: _bare_writer(model, x, settings("arrow"))
    if all_of_them:
        import keras

        outputs = [layer.output for layer in model.layers]
        many = keras.Model(model.inputs[0], outputs)
        each = [keras.Model(model.inputs[0], output) for output in outputs]
        if case.csv:
            found["csv"] = saved("csv")
        found["multi-output predict"] = lambda: many.predict(x, batch_size=size, verbose=0)
        found["predict per layer"] = lambda: [
            one.predict(x, batch_size=size, verbose=0) for one in each
        ]
    return found


def _draft(folder: str) -> LocalDraft:
    return LocalDraft(Path(folder) / "run")


def _bare_writer(model: Any, x: np.ndarray, settings: Settings) -> None:
    """Write the values of one batch over and over: tables, hashes and disk without the model."""
    first = Showing(model, as_probe(x[: settings.capture.batch_size]), settings).capture
    samples = np.arange(len(first.first[0]))
    with (
        tempfile.TemporaryDirectory() as folder,
        Publication(_draft(folder)) as publication,
    ):
        for spec, values in zip(first.tensors, first.first, strict=True):
            with publication.open(f"{spec.order}") as sink:
                writer = TableWriter(sink, spec, "arrow", "int64")
                for _ in range(0, len(x), settings.capture.batch_size):
                    writer.write(samples, values)
                writer.close()
        publication.publish(b"")
