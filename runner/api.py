"""Python functions that run an experiment, or save a run of a given model."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from runner.config.capture_config import CaptureOptions
from runner.config.compose import compose_one
from runner.config.experiment_config import check_name, parse_capture
from runner.errors import InputError
from runner.experiment.experiment import run_experiment
from runner.model.backend import check_backend
from runner.record.header import Header
from runner.runs.published_run import Run
from runner.stores.local import draft_at
from runner.stores.store import Draft

if TYPE_CHECKING:
    import keras


def run(*overrides: str) -> Run:
    """Run one experiment, as ``python -m runner`` with the same overrides does.

    Parameters
    ----------
    *overrides
        As on the command line: ``"model.hidden_units=8", "seed=3"``.

    Returns
    -------
    Run
        The published run.

    Raises
    ------
    InputError
        If the request is invalid; nothing is written.
    RunError
        If the run failed; a record that holds the error is published.
    """
    if not all(isinstance(override, str) for override in overrides):
        raise InputError.of(
            "overrides", f"expected texts, found {overrides!r}", 'such as "seed=1", "format=csv"'
        )
    run_id = secrets.token_hex(4)
    composition, folder = compose_one(overrides, run_id)
    return Run.read(run_experiment(composition, folder, run_id=run_id))


def save_run(
    model: keras.Model,
    x: Any,
    path: str | Path | Draft,
    *,
    sample_ids: Iterable[Any] | None = None,
    labels: Iterable[Any] | None = None,
    targets: Any = None,
    name: str | None = None,
    config: Mapping[str, Any] | None = None,
    format: str = "parquet",
    **capture: Unpack[CaptureOptions],
) -> Run:
    """Run a model on some inputs and publish the outputs of every layer.

    Parameters
    ----------
    model
        Any Keras model. Its weights, statistics and random streams are left alone.
    x
        Inputs of the model: an array of shape (sample, ...), a list or mapping of arrays for
        several inputs, a ``tf.data.Dataset`` or an iterable of batches.
    path
        Folder of the run; must be absent or empty. Or a new run in another store.
    sample_ids, labels, targets
        One entry per sample. For batches also an iterable of the entries of each batch, or a
        function that returns one; or give each batch as a mapping of ``inputs`` and
        ``sample_ids``, and optionally ``labels`` and ``targets``.
    name, config
        Name of the run, and the configuration to record; a ``seed`` in it is the run's seed.
    format, **capture
        As in the configuration: the format of the tables, and the capture options ``include``,
        ``exclude``, ``kinds``, ``reduce``, ``dtype``, ``batch_size``, ``training``, ``max_bytes``
        and ``on_nan``.

    Returns
    -------
    Run
        The published run.

    Raises
    ------
    InputError
        If the model, the inputs, a pattern or the folder is invalid.
    RunError
        If the model fails or the disk is full; nothing is published.
    """
    check_backend()
    from runner.model.building import check_model
    from runner.probe.memory_sources import as_probe
    from runner.saving.saving import save
    from runner.showing.settings import Settings

    draft = draft_at(path, "path")
    check_model(model)
    check_name(name)
    header = Header.of_model(name, config)
    settings = Settings(parse_capture(**capture), format)
    probe = as_probe(x, sample_ids, labels, targets)
    return Run.read(save(model, probe, draft, header, settings))
