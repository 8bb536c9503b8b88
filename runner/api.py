"""Python functions that run an experiment, or save a run of a given model."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Unpack

import numpy as np

from runner.config.capture_config import CaptureOptions
from runner.config.compose import asked_for
from runner.config.effects_config import BY, By, logit_problems
from runner.config.parsing import check_name, parse_capture, parse_interventions
from runner.config.strict import not_among, refuse
from runner.errors import InputError
from runner.experiment.experiment import run_experiment
from runner.record.header import Header
from runner.runs.published_run import Run
from runner.stores.places import Place, draft_at
from runner.stores.store import Draft


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
    asked = asked_for(overrides, run_id)
    composition = asked.composition()
    if composition.experiment.parts > 1:
        from runner.parts.parted_run import PartedRun  # imports Hydra's plugins

        return Run.read(PartedRun(asked, composition, run_id).make())
    return Run.read(run_experiment(composition, asked.folder, run_id=run_id))


def save_run(
    model: Any,
    x: Any,
    path: Place | Draft,
    *,
    sample_ids: Iterable[Any] | None = None,
    labels: Iterable[Any] | None = None,
    targets: Any = None,
    name: str | None = None,
    config: Mapping[str, Any] | None = None,
    loss: Any = None,
    format: str = "parquet",
    intervene: Mapping[str, Any] | None = None,
    effects_by: Sequence[By] = (),
    logit_difference: Sequence[int] | None = None,
    **capture: Unpack[CaptureOptions],
) -> Run:
    """Run a model on some inputs and publish the outputs of every layer.

    Parameters
    ----------
    model
        Any Keras model or ``torch.nn.Module``. Its weights, statistics and random streams are left
        alone.
    x
        Inputs of the model: an array of shape (sample, ...), a list or mapping of arrays for
        several inputs, a ``tf.data.Dataset`` or an iterable of batches. A ``torch.nn.Module`` gets
        a list as arguments and a mapping as keyword arguments.
    path
        Folder or URL of the run; must be absent or empty. Or a new run in another store.
    sample_ids, labels, targets
        One entry per sample. For batches also an iterable of the entries of each batch, or a
        function that returns one; or give each batch as a mapping of ``inputs`` and
        ``sample_ids``, and optionally ``labels`` and ``targets``.
    name, config
        Name of the run, and the configuration to record; a ``seed`` in it is the run's seed.
    loss
        For the kind ``gradient``: a function of the model's output and the targets, that a
        ``torch.nn.Module`` needs; a Keras model may have been compiled with one.
    intervene
        What is done to the outputs of layers while the model runs, by pattern, as in the
        configuration: ``{"hidden": {"units": [0, 3], "set": 0}}``. The tables hold the values
        after it.
    effects_by
        For which parts of the probe the effects of interventions are measured, beside all of it:
        ``class``, the samples of each label, and ``sample``, each sample.
    logit_difference
        Two units of the model's output: the effects hold the difference of their logits, too.
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
    from runner.capture.model_libraries import library_of
    from runner.probe.memory_sources import as_probe
    from runner.saving.saving import save
    from runner.showing.settings import Settings

    draft = draft_at(path, "path")
    library_of(model)  # before anything else is checked
    check_name(name)
    header = Header.of_model(name, config)
    changes = parse_interventions(intervene)
    refuse(not_among("effects_by", one, BY) for one in effects_by if one not in BY)
    refuse(
        replace(problem, place="logit_difference")
        for problem in (() if logit_difference is None else logit_problems(logit_difference))
    )
    settings = Settings(
        parse_capture(**capture),
        format,
        loss=loss,
        intervene=changes,
        effects_by=effects_by,
        logit_difference=logit_difference,
    )
    probe = as_probe(x, sample_ids, labels, targets)
    return Run.read(save(model, probe, draft, header, settings))


def adopt_run(
    path: Place | Draft,
    tensors: Mapping[str, Any],
    *,
    sample_ids: Iterable[Any] | None,
    labels: Iterable[Any] | None = None,
    name: str | None = None,
    format: str = "parquet",
) -> Run:
    """Publish tensors that were computed elsewhere as a run, to compare them with other runs.

    Parameters
    ----------
    path
        Folder or URL of the run; must be absent or empty. Or a new run in another store.
    tensors
        Name to array of shape (sample, ...).
    sample_ids, labels
        One entry per sample. Runs are compared with this one if they have the same ids.
    name, format
        As in `save_run`.

    Returns
    -------
    Run
        The published run. Its probe holds the number of each row, and its record the backend
        ``adopted``.

    Raises
    ------
    InputError
        If there are no ids, or an array is none of numbers or has another number of rows.
    """
    from runner.converted_models.adopted_tensors import AdoptedTensors

    if sample_ids is None:
        raise InputError.of(
            "sample_ids", "are missing", "give the ids of the run to compare with, one per row"
        )
    ids = list(sample_ids)
    arrays = {str(key): np.asarray(array) for key, array in tensors.items()}
    model = AdoptedTensors(arrays, len(ids))
    rows = np.arange(len(ids))
    return save_run(model, rows, path, sample_ids=ids, labels=labels, name=name, format=format)
