"""Configuration of a training, and of the captures during it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, ValidationInfo, model_validator

from runner.config import catalogue
from runner.config.arguments import argument_problems
from runner.config.callback_paths import (
    FORMATTED,
    WRITTEN,
    field_problems,
    path_problems,
    shared_problems,
)
from runner.config.model_config import NamedObject
from runner.config.probe_config import ProbeConfig
from runner.config.references import OutputPath
from runner.config.strict import Length, Strict, checked, expecting, has_custom_modules, refuse
from runner.errors import Problem, suggest
from runner.training.schedule import Schedule, Unit, moment_problems

CHOSEN_BY_SHAPE = ("accuracy", "acc", "crossentropy", "ce")
"""Names for which Keras chooses a metric by the shape of the output."""
_COLUMNS = ("epoch", "loss")


def _share_problems(share: float) -> Iterator[Problem]:
    if not 0 <= share < 1:
        yield Problem("", f"must be in [0, 1), found {share}")


Metric = Annotated[
    str | NamedObject, expecting("a metric's name, or a mapping that begins with class_name")
]


class TrainConfig(Strict):
    """Training of the model with Keras's ``fit``, and captures during the training.

    ``capture_at`` and ``every`` count epochs, or with ``unit: step`` batches; 0 is the
    untrained model.
    """

    section_title = "Training"
    examples: ClassVar[dict[str, str]] = {
        "epochs": "train=fit train.epochs=20",
        "batch_size": "train.batch_size=16",
        "validation_split": "train.validation_split=0.2",
        "shuffle": "train.shuffle=false",
        "metrics": "train.metrics=[accuracy]",
        "callbacks": "+train.callbacks.early={class_name:EarlyStopping,monitor:loss}",
        "data": "train/data=csv train.data.path=flowers.csv",
        "capture_at": "train.capture_at=[0,1,last]",
        "every": "train.every=5",
        "unit": "train.unit=step train.every=100",
        "save_model": "train.save_model=true",
        "keep_partial": "train.keep_partial=true",
    }

    epochs: Length = 10
    """Number of epochs."""
    batch_size: Length = 32
    """Number of samples in a batch."""
    validation_split: Annotated[float, checked(_share_problems)] = 0.0
    """Fraction of the data, taken from its end, used only for validation."""
    shuffle: bool = True
    """Whether to shuffle the data for each epoch, in an order drawn from the seed."""
    metrics: list[Metric] = Field(default=[])
    """Metrics of Keras: names, or classes with arguments."""
    callbacks: dict[str, NamedObject] = Field(default={})
    """Callbacks of Keras under names of your own."""
    data: ProbeConfig | None = None
    """Training data, declared like a probe; `null`: the probe itself."""
    capture_at: Annotated[list[Any], checked(moment_problems)] = Field(default=[])
    """Epochs after which the probe is captured: numbers (0: before training), or `last`."""
    every: Length | None = None
    """Interval of further captures, starting at 0."""
    unit: Unit = "epoch"
    """Unit of `capture_at` and `every`."""
    save_model: bool = False
    """Whether to keep the trained model as `model.keras`."""
    keep_partial: bool = False
    """Whether an interrupted training publishes what it has captured so far."""

    @property
    def schedule(self) -> Schedule:
        """The steps at which the probe is captured."""
        return Schedule(self.capture_at, self.every, self.unit)

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> Self:
        refuse(self._problems(has_custom_modules(info)))
        for callback in self.callbacks.values():
            arguments = callback.__pydantic_extra__ or {}
            for key, value in arguments.items():
                if (callback.class_name, key) in WRITTEN and isinstance(value, str):
                    arguments[key] = OutputPath(value)
        return self

    def _problems(self, custom: bool) -> Iterator[Problem]:
        for position, metric in enumerate(self.metrics):
            yield from _metric_problems(metric, f"metrics.{position}", custom)
        for name, callback in self.callbacks.items():
            place = f"callbacks.{name}"
            yield from argument_problems(
                "callbacks", callback.class_name, callback.arguments, place, custom=custom
            )
            yield from path_problems(callback.class_name, callback.arguments, place)
            yield from self._field_problems(callback, place, custom)
            yield from self._monitor_problems(callback, place)
        yield from shared_problems(self._written_paths())
        for position, moment in enumerate(self.capture_at):
            if self.unit == "epoch" and isinstance(moment, int) and moment > self.epochs:
                message = f"only {self.epochs} epochs are trained, found {moment}"
                yield Problem(f"capture_at.{position}", message, "raise train.epochs")

    def _field_problems(self, callback: NamedObject, place: str, custom: bool) -> Iterator[Problem]:
        """Yield a problem for each field of a path that does not exist or is not a plain number."""
        class_name, key = FORMATTED
        template = callback.arguments.get(key)
        if callback.class_name != class_name or not isinstance(template, str):
            return
        figures = self._figures()
        numbers: dict[str, int | float] = {"epoch": 1}
        if isinstance(callback.arguments.get("save_freq"), int):
            numbers["batch"] = 1
        elif self.validation_split:
            figures = [*figures, *(f"val_{figure}" for figure in figures)]
        numbers |= dict.fromkeys([*figures, "learning_rate"], 0.5)
        complete = catalogue.load().complete and not custom
        yield from field_problems(template, numbers, f"{place}.{key}", complete=complete)

    def _written_paths(self) -> dict[tuple[str, str, str], str]:
        """Return the paths that callbacks write to, by their class, argument and key path."""
        return {
            (callback.class_name, key, f"callbacks.{name}.{key}"): path
            for name, callback in self.callbacks.items()
            for key, path in callback.arguments.items()
            if (callback.class_name, key) in WRITTEN and isinstance(path, str)
        }

    def _figures(self) -> list[str]:
        """Return the names of the loss and metrics on the training data."""
        return ["loss", *map(figure_name, self.metrics)]

    def _monitor_problems(self, callback: NamedObject, place: str) -> Iterator[Problem]:
        """Yield a problem for a monitored figure that never exists, of which Keras only warns."""
        signature = catalogue.load().signature("callbacks", callback.class_name)
        if signature is None or "monitor" not in signature.optional:
            return
        # Of these, only a checkpoint works without the figure that it monitors.
        if "save_best_only" in signature.optional and not callback.arguments.get("save_best_only"):
            return
        monitor = callback.arguments.get("monitor", signature.optional["monitor"])
        if not isinstance(monitor, str):
            return
        figures = self._figures()
        known = [*figures, *(f"val_{figure}" for figure in figures), "learning_rate"]
        if monitor not in known:
            advice = suggest(monitor, known) or f"there are {', '.join(figures)}"
            yield Problem(f"{place}.monitor", f"there is no metric '{monitor}'", advice)
        elif monitor.startswith("val_") and not self.validation_split:
            yield Problem(
                f"{place}.monitor",
                f"there is no {monitor} without validation data",
                f"set train.validation_split=0.2, or monitor: {monitor.removeprefix('val_')}",
            )


def _metric_problems(metric: str | NamedObject, place: str, custom: bool) -> Iterator[Problem]:
    if isinstance(metric, NamedObject):
        yield from argument_problems(
            "metrics", metric.class_name, metric.arguments, place, custom=custom
        )
    elif metric not in CHOSEN_BY_SHAPE:
        # A bare name means the class without arguments.
        yield from argument_problems("metrics", metric, {}, place, custom=custom)
    name = figure_name(metric)
    if name in _COLUMNS:
        message = f"the history has a column '{name}' of its own"
        yield Problem(place, message, f"give the metric another name: name: my_{name}")


def figure_name(metric: str | NamedObject) -> str:
    """Return the name of a metric in the history."""
    if isinstance(metric, str):
        return metric
    given = metric.arguments.get("name")
    if given is None:
        signature = catalogue.load().signature("metrics", metric.class_name)
        given = signature and signature.optional.get("name")
    if given is None:  # Keras uses the class's name in snake case
        name = catalogue.load().class_of("metrics", metric.class_name)
        parted = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
        given = re.sub("([a-z])([A-Z])", r"\1_\2", parted).lower()
    return str(given)
