"""The keys that take no value from the environment, since a run writes or sends their values."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from runner.config import catalogue
from runner.config.arguments import COUNTS
from runner.config.declared_config import DeclaredModel
from runner.config.experiment_config import ExperimentConfig
from runner.config.strict import RECORDED
from runner.config.train_config import TrainConfig
from runner.local_paths import URL

_SIZES = frozenset((*COUNTS, "batch_size", "rows"))
"""Arguments of layers and functions whose values show in the shapes of tensors and tables."""
_SHOWN = ("name", "shape", "layer", "layers", "cell", "cells")
"""Ends of the arguments of layers that name something, or that hold shapes or further layers."""
_GIVEN_ON = ("arguments", "extra")
"""Keys whose values are for a function or for nobody, and open nothing by themselves."""
_BEGINS = re.compile(r"\$\{oc\.env:\w+\}(/[^$]*)?")
"""A URL that only begins with a variable, which then names the user's own store."""
_SAVING = ("ModelCheckpoint", "TensorBoard")
"""Callbacks of Keras that write the model with the arguments of its layers."""


def written_places(experiment: ExperimentConfig, places: Collection[str]) -> Iterator[str]:
    """Yield the keys whose values would be in a file or the name of a file of the run.

    Parameters
    ----------
    experiment
        The experiment.
    places
        Key paths to choose from.
    """
    saves_model = experiment.train is not None and _saves_model(experiment.train)
    for place in places:
        top, *below = place.split(".")
        if _is_recorded(experiment, top, below) or (
            saves_model and _is_in_model_file(experiment, top, below)
        ):
            yield place


def sent_places(real: Any, told: Any, place: str = "") -> Iterator[str]:
    """Yield the keys whose values would be sent to another machine, as a part of a URL.

    Parameters
    ----------
    real
        Resolved configuration, or a part of it.
    told
        The same with ``${oc.env:NAME}`` for each value from the environment, which may be a whole
        mapping or list.
    place
        Key path of the part.
    """
    if isinstance(real, Mapping | list):
        for key, each in real.items() if isinstance(real, Mapping) else enumerate(real):
            if key not in _GIVEN_ON:
                text = told if isinstance(told, str) else told[key]
                yield from sent_places(each, text, f"{place}.{key}".removeprefix("."))
    elif (
        isinstance(real, str)
        and real != told
        and URL.match(real)
        and not _BEGINS.fullmatch(str(told))
    ):
        yield place


def _is_recorded(experiment: ExperimentConfig, top: str, below: list[str]) -> bool:
    """Return whether a value is in the record or a table of any run of the experiment."""
    key = next((part for part in reversed(below) if not part.isdigit()), "")
    if _is_marked(experiment, [top, *below]):
        return True
    if top == "train":
        return below[:1] != ["data"]
    if top == "model":
        return not _is_unseen(experiment, below) and not _is_argument(below, key)
    if top == "probe" and experiment.probe.holds_samples:
        return True
    return top in ("probe", "capture") and (not below or (len(below) > 1 and key in _SIZES))


def _is_marked(config: BaseModel, path: Sequence[str]) -> bool:
    """Return whether the field at a path, or one above it, is marked as recorded."""
    field = type(config).model_fields.get(path[0]) if path else None
    if field is None or RECORDED in field.metadata:
        return field is not None
    inner = getattr(config, path[0])
    return isinstance(inner, BaseModel) and _is_marked(inner, path[1:])


def _is_in_model_file(experiment: ExperimentConfig, top: str, below: list[str]) -> bool:
    if top == "model":
        return not _is_unseen(experiment, below)
    return top in ("loss", "optimizer")


def _is_unseen(experiment: ExperimentConfig, below: list[str]) -> bool:
    """Return whether a key of the model is a path, or used only by keys that refer to it."""
    model = experiment.model
    parameters = model.parameters if isinstance(model, DeclaredModel) else {}
    return below[:1] in ([name] for name in ("path", "weights", *parameters))


def _is_argument(below: list[str], key: str) -> bool:
    """Return whether a key is an argument that is neither a size, nor a name, nor a layer.

    The record masks the values of such arguments.
    """
    inside = below[:1] == ["arguments"] or (below[:1] == ["layers"] and len(below) > 2)
    return inside and key not in _SIZES and not key.endswith(_SHOWN)


def _saves_model(train: TrainConfig) -> bool:
    """Return whether a training saves the model, or has a callback that might do so."""
    return train.save_model or any(
        callback.class_name in _SAVING
        or catalogue.load().signature("callbacks", callback.class_name) is None
        for callback in train.callbacks.values()
    )
