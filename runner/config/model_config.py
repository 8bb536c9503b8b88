"""Configuration of the model: declared layer by layer, loaded, or returned by code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from typing import Annotated, Any, ClassVar, Self, get_args

from pydantic import Discriminator, Field, Tag, model_validator

from runner.config.arguments import argument_problems
from runner.config.declared_config import DeclaredModel
from runner.config.precision import Precision
from runner.config.references import UNTYPED, InputFile
from runner.config.strict import Function, Open, Strict, refuse
from runner.converted_models.runtime import Runtime
from runner.errors import Problem
from runner.registry import Registry


class NamedObject(Open):
    """An object of Keras: its class, with the arguments as further keys."""

    section_title = "An object of Keras"
    examples: ClassVar[dict[str, str]] = {
        "class_name": "optimizer.class_name=SGD",
    }

    class_name: str
    """Name of the class."""

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of the class; a value may be an object itself (``{class_name: ...}``)."""
        return self.others


RUNTIMES: Registry[Runtime] = Registry(
    "runner.runtimes", "model", lambda value: isinstance(value, Runtime)
)
"""The runtimes of converted models, by the choices of the group ``model``."""

_OTHER_FORMATS = {
    ".pb": "a TensorFlow graph",
    ".pt": "a PyTorch file",
    ".pth": "a PyTorch file",
    ".safetensors": "a file of weights alone",
}


def _format_problems(path: str) -> Iterator[Problem]:
    """Yield a problem for a file of a format from which Keras loads no layers."""
    if what := _OTHER_FORMATS.get(PurePath(path).suffix.lower()):
        yield Problem(
            "path",
            f"'{path}' is {what}, whose layers Keras does not load",
            "give the .keras file that it was made from",
        )


def runtime_of(path: str | PurePath) -> Runtime | None:
    """Return the runtime of a converted model's file, given its name; ``None`` for other files."""
    suffix = PurePath(path).suffix.lower()
    return next((each for each in RUNTIMES.values() if each.suffix == suffix), None)


def is_converted(path: str) -> bool:
    """Return whether a file is named like a model of another runtime."""
    return runtime_of(path) is not None


class SavedModel(Precision):
    """A model from a file: of Keras, or of another runtime."""

    section_title = "From a file"
    examples: ClassVar[dict[str, str]] = {
        "path": "model=saved model.path=m.keras",
        "weights": "model.weights=mine.weights.h5",
    }

    path: InputFile
    """The `.keras` file, an `.h5` file of Keras 2 or 3, or a converted file, such as `.onnx`."""
    weights: InputFile | None = None
    """A `.weights.h5` file to load into the model."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        refuse([*_format_problems(self.path), *self._converted_problems()])
        return self

    def _converted_problems(self) -> Iterator[Problem]:
        """Yield a problem for each key that only models of Keras have."""
        if is_converted(self.path):
            for key in ("weights", "dtype", "quantize"):
                if getattr(self, key) is not None:
                    yield Problem(
                        key,
                        f"a {PurePath(self.path).suffix} file is used as it is",
                        f"leave {key} out",
                    )


class ApplicationModel(Precision, NamedObject):
    """A model of ``keras.applications``: its name, with the arguments as further keys."""

    section_title = "Of keras.applications"
    examples: ClassVar[dict[str, str]] = {
        "class_name": "model=application model.class_name=MobileNetV2",
        "weights": "model.weights=mine.weights.h5",
    }

    weights: InputFile | None = None
    """A weights file; `null`: weights drawn from the seed. Nothing is downloaded."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        refuse(argument_problems("applications", self.class_name, self.arguments))
        return self


class FunctionModel(Precision):
    """A model returned by Python code; naming it runs that code."""

    section_title = "From Python code"
    examples: ClassVar[dict[str, str]] = {
        "function": "model=function model.function=my_package.nets:build",
        "arguments": "+model.arguments.depth=4",
    }

    function: Function
    """The callable, `package.module:name`, that returns a Keras model or a `torch.nn.Module`."""
    arguments: Annotated[dict[str, Any], UNTYPED] = Field(default={})
    """Keyword arguments of the callable."""


def _key_of(model: Any) -> str | None:
    return next((key for key in MODEL_KINDS if isinstance(model, dict) and key in model), None)


ModelConfig = Annotated[
    Annotated[DeclaredModel, Tag("layers")]
    | Annotated[SavedModel, Tag("path")]
    | Annotated[ApplicationModel, Tag("class_name")]
    | Annotated[FunctionModel, Tag("function")],
    Discriminator(_key_of),
]
MODEL_KINDS: dict[str, type[Strict]] = {
    tag.tag: kind for kind, tag in map(get_args, get_args(get_args(ModelConfig)[0]))
}
"""The kinds of a model, each by a key that it has and those before it have not."""
