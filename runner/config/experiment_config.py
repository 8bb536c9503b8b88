"""The typed configuration of an experiment, validated before anything is built."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, model_validator

from runner.config.arguments import argument_problems
from runner.config.capture_config import CaptureConfig
from runner.config.cheap_keys import CHEAP
from runner.config.declared_config import DeclaredModel
from runner.config.effects_config import EffectsConfig, by_problems
from runner.config.intervene_config import Intervention, each_problems
from runner.config.model_config import FunctionModel, ModelConfig, NamedObject
from runner.config.probe_config import ProbeConfig
from runner.config.references import ModuleName
from runner.config.seedings import Seeding
from runner.config.strict import (
    RECORDED,
    Length,
    Seed,
    Strict,
    checked,
    has_custom_modules,
    not_among,
    refuse,
)
from runner.config.torch_losses import TORCH_LOSSES
from runner.config.train_config import TrainConfig
from runner.errors import Problem
from runner.model.backend import ENGINES, backend_problems
from runner.run_names import run_name_problems
from runner.table_formats import FORMATS
from runner.tensors import KINDS


def _format_problems(name: str) -> Iterator[Problem]:
    if name not in FORMATS:
        yield not_among("", name, FORMATS)


# A function, since listing all formats loads them.
_AMONG_FORMATS = Field(json_schema_extra=lambda schema: schema.update(enum=[*FORMATS]))

_AMONG_BACKENDS = Field(json_schema_extra=lambda schema: schema.update(enum=[*ENGINES]))


def _module_problems(name: str) -> Iterator[Problem]:
    if not all(part.isidentifier() for part in name.split(".")):
        yield Problem("", f"expected a module such as my_package.layers, found '{name}'")


# YAML reads the name 0, as a layer of PyTorch may have, as a number.
LayerPattern = Annotated[str, BeforeValidator(lambda key: str(key) if type(key) is int else key)]
"""A pattern of the layers whose outputs an intervention changes."""


def _of_keras(namespace: str) -> AfterValidator:
    def check(named: NamedObject, info: ValidationInfo) -> NamedObject:
        if namespace == "losses" and named.class_name in TORCH_LOSSES:
            return named
        custom = has_custom_modules(info)
        refuse(argument_problems(namespace, named.class_name, named.arguments, custom=custom))
        return named

    return AfterValidator(check)


class ExperimentConfig(Strict):
    """One experiment: a model, the probe that it is shown, and the tensors to keep."""

    section_title = "An experiment"
    examples: ClassVar[dict[str, str]] = {
        "backend": "backend=tensorflow",
        "drawn_by": "drawn_by=tensorflow",
        "seed": "seed=1",
        "name": "name=baseline",
        "custom_modules": "custom_modules=[my_package.layers]",
        "model": "model=iris_mlp probe=iris",
        "probe": "probe=random",
        "loss": "loss=huber",
        "optimizer": "optimizer=sgd",
        "capture": "capture.include=[hidden]",
        "intervene": "intervene.hidden.units=[0,3] intervene.hidden.set=0",
        "effects": "intervene.hidden.set=0 effects.by=[sample]",
        "format": "format=csv",
        "train": "train=fit",
        "parts": "parts=4 hydra/launcher=joblib",
        "extra": "+extra.batch=3 +extra.note=trial",
        "dry_run": "dry_run=true",
    }

    backend: Annotated[str, checked(backend_problems), _AMONG_BACKENDS] | None = None
    """Framework that Keras computes with: `tensorflow`, `jax` or `torch`; `null`: the one that
    Keras is set to, by `KERAS_BACKEND` or its own settings, else TensorFlow.
    """
    drawn_by: Annotated[str, checked(backend_problems), _AMONG_BACKENDS] | None = None
    """Backend that draws the initial weights, each of which draws others from one seed; `null`: the
    run's own, and in a sweep over backends TensorFlow if it is installed, else the first of them.
    """
    seed: Annotated[Seed, CHEAP, RECORDED] = 0
    """Seed of the initial weights, dropout and shuffling."""
    name: Annotated[Annotated[str, checked(run_name_problems)] | None, CHEAP] = None
    """Name of the run, accepted wherever a run is named."""
    custom_modules: list[Annotated[ModuleName, checked(_module_problems)]] = Field(default=[])
    """Python modules that register layers of your own. Naming one runs its code."""
    model: ModelConfig
    """The model."""
    probe: ProbeConfig
    """The inputs shown to the model."""
    loss: Annotated[NamedObject, _of_keras("losses")] | None = None
    """A loss of Keras and its arguments, or `null`; for gradients of a module of PyTorch, a loss of
    `torch.nn`.
    """
    optimizer: Annotated[NamedObject, _of_keras("optimizers")] | None = None
    """An optimizer of Keras and its arguments, or `null`."""
    capture: CaptureConfig = CaptureConfig()
    """Which tensors are kept, and how."""
    intervene: Annotated[dict[LayerPattern, Intervention], RECORDED] = Field(default={})
    """What is done to the outputs of layers, by pattern, while the model runs: the tables hold the
    values after it. If several patterns match, all apply, in their order. A pattern with characters
    other than letters, digits and `_` is typed in a mapping: `'intervene={block/*: {scale: 0}}'`.
    """
    effects: EffectsConfig = EffectsConfig()
    """Further effects of interventions that are measured."""
    format: Annotated[str, checked(_format_problems), _AMONG_FORMATS] = "parquet"
    """File format of the tables: `csv_bom` is CSV with the byte-order mark that Excel needs to read
    Korean, `xlsx` is Parquet with an additional workbook for Excel, `none` keeps no values.
    """
    train: TrainConfig | None = None
    """Training of the model; `null`: no training."""
    parts: Length = 1
    """Number of parts into which the samples are divided: the workers of `hydra/launcher` make the
    parts, which are then joined into one run.
    """
    extra: dict[str, Any] = Field(default={})
    """Keys of your own: values that other keys refer to (`${extra.width}`), or notes for the
    record. Runner itself does not read them.
    """
    dry_run: bool = False
    """Only print the tables that would be written and their sizes."""

    @property
    def seeding(self) -> Seeding:
        """How the initial weights are drawn: only a declared model has a choice."""
        return self.model.seeding if isinstance(self.model, DeclaredModel) else "keras"

    @model_validator(mode="after")
    def _check(self) -> Self:
        refuse(self._problems())
        return self

    def _problems(self) -> Iterator[Problem]:
        """Yield a problem for each object that training or gradients need and that is null."""
        if self.train is not None and self.model.quantize is not None:
            yield Problem("model.quantize", "a quantized model is not trained", "set train=none")
        if self.train is not None and self.intervene:
            message = "there are no interventions in a training"
            yield Problem("intervene", message, "set train=none, or leave it out")
        if self.train is not None and not FORMATS[self.format].keeps_values:
            message = f"{self.format} keeps no values, which the steps of a training are"
            yield Problem("format", message, "choose another one, or set train=none")
        yield from each_problems(self.intervene)
        yield from by_problems(self.effects, self.intervene)
        loss = self.loss.class_name if self.loss is not None else None
        if loss in TORCH_LOSSES and not isinstance(self.model, FunctionModel):
            message = f"{loss} is a loss of PyTorch, and this model is none of its modules"
            yield Problem("loss.class_name", message, "name a loss of Keras, such as loss=mse")
        if self.parts > 1:
            yield from self._problems_of_parts()
        why = "training needs one" if self.train is not None else ""
        if "gradient" in self.capture.kinds:
            why = why or "the gradients in capture.kinds need one"
        for name, chosen in (("loss", self.loss), ("optimizer", self.optimizer)):
            if why and chosen is None:
                default = "mse" if name == "loss" else "adam"
                yield Problem(name, f"{why}, and it is null", f"set {name}={default}")

    def _problems_of_parts(self) -> Iterator[Problem]:
        """Yield a problem for each key that needs all samples of a run at once."""
        whole = "leave out parts"
        if self.capture.training:
            message = "in training, the values of a sample depend on those before it"
            yield Problem("parts", message, "set capture.training=false, or leave out parts")
        if self.intervene:
            yield Problem("parts", "there are no interventions in a run made in parts", whole)
        if not FORMATS[self.format].keeps_values:
            yield Problem("parts", f"there are no values with format={self.format}", whole)
        if FORMATS[self.format].has_workbook:
            message = f"a workbook of {self.format} holds all samples"
            yield Problem("parts", message, "set format=parquet, or leave out parts")
        if self.train is not None and not self.train.schedule.only_last:
            message = "only the trained model is captured in parts"
            yield Problem("parts", message, "leave out train.capture_at and train.every, or parts")
        if not any(KINDS[kind].per_sample for kind in self.capture.kinds):
            yield Problem("parts", "no tensor with a row per sample is captured", whole)
