"""The contents of the page of one run."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import yaml

from runner.preflight import readable
from runner.record.batch_dependence import batch_facts, batch_notes
from runner.record.layer_record import TensorRecord
from runner.record.record import RunRecord
from runner.report.excerpt import Excerpt
from runner.report.explanations import explained
from runner.report.layer_view import tensor_view
from runner.report.network import Block, dense_chain, drawn_edges, feeders, layer_tree, shape_of
from runner.report.probe_view import input_views
from runner.report.training_view import how_trained
from runner.runs.published_run import Run
from runner.similarity.progress import Progress, silent

_ALL_OPEN = 8
_MOST_VIEWS = 400


@dataclass(frozen=True)
class Page:
    """The contents of a page: variables of its template and data of its script.

    Attributes
    ----------
    kind
        ``run`` or ``sweep``, which selects the template and the scripts.
    shown
        Variables of the template.
    data
        Plain data for the script.
    """

    kind: str
    shown: dict[str, Any]
    data: dict[str, Any]


def page_of_run(run: Run, progress: Progress = silent) -> Page:
    """Return the page of a run.

    Parameters
    ----------
    run
        The run.
    progress
        Called with what is being computed, how much of it is done, and of how much.

    Raises
    ------
    InputError
        If a table is missing or damaged.
    """
    record = run.record
    shown: dict[str, Any] = {
        "title": f"Run {record.name or run.id}",
        "record": record,
        "facts": _facts(record),
        "config": as_yaml(record.config) if record.config else "",
        "provenance": provenance(record),
        "views": [],
    }
    if record.error is not None or record.probe is None:
        return Page("run", shown, {})
    captured = [tensor for tensor in record.tensors if tensor.per_sample]
    own = [tensor for tensor in captured if tensor.alias_of is None]
    viewed = own[:_MOST_VIEWS]
    excerpt = Excerpt.of(run, list(viewed))
    views = []
    for tensor in viewed:
        views.append(tensor_view(run, tensor, excerpt))
        progress("layers", len(views), len(viewed))
    _explain(run, viewed, views, excerpt)
    inputs, no_inputs = input_views(run, excerpt)
    training = how_trained([run], [run.id])
    feeds = feeders(record)
    keys = {(tensor.kind, tensor.name): f"layer-{place}" for place, tensor in enumerate(viewed)}
    summary = run.summary
    shown |= {
        "excerpt": excerpt,
        "views": list(zip(viewed, views, strict=True)),
        "unviewed": len(own) - len(viewed),
        "all_open": len(viewed) <= _ALL_OPEN,
        "keys": keys,
        "tree": layer_tree(record.layers),
        "feeds": feeds,
        "statistics": _statistics(summary, views, weights=False),
        "weight_statistics": _statistics(summary, [], weights=True),
        "no_inputs": no_inputs,
        "training": training,
        "inputs": inputs,
        "is_block": lambda part: isinstance(part, Block),
        "shape_of": shape_of,
        "warning": _warning(record),
        "notes": batch_notes(record),
    }
    chain = dense_chain(run)
    shown["chain"] = chain
    data = {
        "run": run.id,
        "samples": excerpt.samples,
        "labels": excerpt.labels,
        "inputs": inputs,
        "layers": views,
        "chain": chain,
        "edges": drawn_edges(feeds, record.layers),
        "training": training,
    }
    return Page("run", shown, data)


def as_yaml(config: dict[str, Any]) -> str:
    """Return a configuration as YAML."""
    text: str = yaml.safe_dump(config, allow_unicode=True, sort_keys=False, width=100)
    return text


def provenance(record: RunRecord) -> dict[str, str]:
    """Return the machine, the versions and the sources of a run, one text per fact."""
    environment, backend = record.environment, record.backend
    facts = {
        "started": f"{record.started:%Y-%m-%d %H:%M:%S} UTC",
        "took": f"{record.seconds:,.2f} s",
        "Python": environment.python,
        "platform": environment.platform,
        **environment.packages,
    }
    if "probe" in record.config:  # not saved from Python
        facts["command line"] = shlex.join(record.overrides) or "without overrides"
    if (git := environment.git) is not None:
        dirty = ", with changes that are not committed" if git.dirty else ""
        facts["commit"] = f"{git.commit}{dirty}" + (f" of {git.remote}" if git.remote else "")
    if backend is not None:
        facts["backend"] = (
            f"{backend.name}, oneDNN {_switch(backend.onednn)}, "
            f"deterministic operations {_switch(backend.deterministic)}"
        )
    if record.model is not None:
        facts["hash of the weights"] = record.model.sha256
    if record.probe is not None:
        facts["hash of the probe"] = record.probe.sha256
    return facts | batch_facts(record)


def _facts(record: RunRecord) -> dict[str, str]:
    facts = {"status": record.status, "id": record.run_id}
    if record.model is not None:
        facts["model"] = f"{record.model.model_class}, {record.model.weights:,} weights"
    if record.seed is not None:
        facts["seed"] = str(record.seed)
    if record.probe is not None:
        facts["probe"] = f"{record.probe.source}, {record.probe.rows:,} samples"
    if record.error is None:
        size = sum({tensor.file: tensor.bytes for tensor in record.tensors}.values())
        facts["tables"] = f"{record.format}, {readable(size)}"
    return facts


def _explain(
    run: Run, tensors: Sequence[TensorRecord], views: Sequence[dict[str, Any]], excerpt: Excerpt
) -> None:
    """Add to each view the arithmetic of its values."""
    units = [_value_names(view) for view in views]
    for view, told in zip(views, explained(run, tensors, units, excerpt), strict=True):
        view["explained"] = told


def _value_names(view: dict[str, Any]) -> list[str]:
    """Return the names of a sample's shown values: ``u3``, or ``u0_1_3`` for a map."""
    maps = view["maps"]
    if maps is None:
        return list(view["unit_names"])
    _, images, rows, columns = maps["values"]["shape"]
    step = maps["step"]
    names = []
    for image, row, column in np.ndindex(images, rows, columns):
        place = [*maps["fixed"], row * step, column * step]
        if maps["axis"] is not None:
            place.insert(maps["axis"], maps["entries"][image])
        names.append("u" + "_".join(map(str, place)))
    return names


def _statistics(
    summary: pd.DataFrame, views: Sequence[dict[str, Any]], weights: bool
) -> list[dict[str, Any]]:
    """Return the rows of the summary, with the numbers of saturated and constant units if known."""
    states = {(view["kind"], view["name"]): view["state"] for view in views}
    rows = summary[(summary["kind"] == "weight") == weights].to_dict("records")
    for row in rows:
        state = states.get((row["kind"], row["name"]))
        row["constant"] = None if state is None else len(state["constant"])
        saturated = None if state is None else state["saturated"]
        row["saturated"] = None if saturated is None else len(saturated)
    return [{str(key): value for key, value in row.items()} for row in rows]


def _warning(record: RunRecord) -> str:
    headline = record.headline
    if headline is None or not (headline.nan or headline.inf):
        return ""
    return f"{headline.nan:,} values are NaN and {headline.inf:,} are infinite."


def _switch(on: bool | None) -> str:
    return {True: "on", False: "off", None: "not recorded"}[on]
