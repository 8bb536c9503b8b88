"""Configuration of a model that is declared layer by layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, ValidationInfo, model_validator

from runner.config.arguments import argument_problems, join
from runner.config.graph import CallArguments, LayerGraph, name_problems, or_else, printable
from runner.config.precision import Precision
from runner.config.references import InputFile
from runner.config.seedings import SEEDING, Seeding
from runner.config.strict import Dtype, Length, Open, Strict, expecting, has_custom_modules, refuse
from runner.errors import Problem, suggest
from runner.tensors import InputSpec

_FILES = ("vocabulary",)
"""Arguments of Keras's layers that are the content of a file, if they are a text: its path."""


_MOST_PARTS = 256
"""Largest number of objects in a layer's arguments: Keras makes and calls every cell in turn."""


def _parts(value: Any) -> int:
    """Return the number of objects in the arguments of a layer, at any depth."""
    if isinstance(value, dict):
        return ("class_name" in value) + sum(map(_parts, value.values()))
    return sum(map(_parts, value)) if isinstance(value, list) else 0


def _marked(value: Any) -> Any:
    """Return the arguments of an object of Keras with the names of files marked as such."""
    if isinstance(value, dict):
        return {
            key: InputFile(item) if key in _FILES and isinstance(item, str) else _marked(item)
            for key, item in value.items()
        }
    return [_marked(item) for item in value] if isinstance(value, list) else value


class ModelInput(Strict):
    """One input of a declared model."""

    section_title = "An input"
    examples: ClassVar[dict[str, str]] = {
        "shape": "experiment=two_inputs model.inputs.left.shape=[6]",
        "dtype": "+model.inputs.left.dtype=float16",
    }

    shape: list[Length | None]
    """Shape of one sample; `null` for an axis of any length."""
    dtype: Dtype = "float32"
    """Data type of the values."""


class LayerNode(Open):
    """One layer, or with `reuse` another call of a layer; its arguments are further keys."""

    section_title = "A layer"
    examples: ClassVar[dict[str, str]] = {
        "class_name": "experiment=two_inputs model.layers.output.class_name=Dense",
        "reuse": "model.layers.tower_right.reuse=tower",
        "inputs": "+model.layers.output.inputs=difference",
    }

    class_name: str | None = None
    """A class of `keras.layers`, or of your own (`my_package>Scale`)."""
    reuse: str | None = None
    """A layer to call once more, with the same weights."""
    inputs: Annotated[
        str | list[str] | dict[str, Any] | None,
        expecting("a layer's name, a list of names, or a mapping from argument to name"),
    ] = None
    """Inputs of the layer; `null`: the previous layer."""

    @model_validator(mode="after")
    def _mark(self) -> Self:
        arguments = self.__pydantic_extra__ or {}
        arguments.update(_marked(arguments))
        return self

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of the class; a value may be an object itself (``{class_name: ...}``)."""
        return self.others


class DeclaredModel(Precision, Open):
    """A model declared layer by layer; further keys are its parameters."""

    section_title = "Declared layer by layer"
    examples: ClassVar[dict[str, str]] = {
        "layers": "model.layers.hidden.activation=tanh",
        "input_shape": "model.input_shape=[5] probe=random",
        "inputs": "+model.inputs={a:{shape:[3]}} model.input_shape=null",
        "outputs": "+model.outputs=[hidden,output]",
        "seeding": "model.seeding=keras",
        "weights": "+model.weights=mine.weights.h5",
    }

    layers: dict[str, LayerNode]
    """The layers by name, in order."""
    input_shape: list[Length | None] | None = None
    """Shape of the only input, without the sample axis."""
    inputs: dict[str, ModelInput] | None = None
    """Inputs by name, instead of `input_shape`."""
    outputs: list[str] | None = None
    """Layers whose outputs the model returns; `null`: the last layer."""
    seeding: Annotated[Seeding, Field(description=SEEDING)] = "keras"
    weights: InputFile | None = None
    """A `.weights.h5` file to load."""

    @property
    def parameters(self) -> dict[str, Any]:
        """Values that other keys refer to, such as ``hidden_units``."""
        return self.others

    def input_specs(self) -> tuple[InputSpec, ...]:
        """Return the model's inputs; an input declared only by its shape is named ``input``."""
        if self.inputs is None:
            return (InputSpec("input", tuple(self.input_shape or ())),)
        return tuple(
            InputSpec(name, tuple(given.shape), given.dtype) for name, given in self.inputs.items()
        )

    def call_order(self) -> tuple[str, ...]:
        """Return the layers in an order in which each one follows the layers that feed it."""
        return self._graph.call_order()

    def call_arguments(self, layer: str) -> CallArguments:
        """Return the call arguments of a layer (see `runner.config.graph.LayerGraph.calls`)."""
        return self._graph.calls[layer]

    def output_names(self) -> tuple[str, ...]:
        """Return the names of the model's output tensors, by default that of the last layer."""
        return self._graph.outputs

    def index_limits(self) -> dict[str, tuple[str, int]]:
        """Return the embedding and its number of entries for each input that indexes one."""
        limits: dict[str, tuple[str, int]] = {}
        inputs = {spec.name for spec in self.input_specs()}
        for name, given in self._graph.calls.items():
            owner = self.layers[name].reuse or name
            layer = self.layers.get(owner)
            if layer is None or layer.class_name != "Embedding" or not isinstance(given, str):
                continue
            count = layer.arguments.get("input_dim")
            if given in inputs and isinstance(count, int):
                found = limits.get(given, (owner, count))
                limits[given] = min(found, (owner, count), key=lambda limit: limit[1])
        return limits

    @cached_property
    def _graph(self) -> LayerGraph:
        inputs = tuple(spec.name for spec in self.input_specs())
        # With several inputs the first layer must say which it takes.
        before: CallArguments = inputs[0] if len(inputs) == 1 else []
        calls = {}
        for name, node in self.layers.items():
            calls[name] = before if node.inputs is None else node.inputs
            before = name
        outputs = [*self.layers][-1:] if self.outputs is None else self.outputs
        return LayerGraph(inputs, calls, tuple(outputs))

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> Self:
        refuse(self._problems(has_custom_modules(info)))
        return self

    def _problems(self, custom: bool) -> Iterator[Problem]:
        if (self.inputs is None) == (self.input_shape is None):
            found = "neither" if self.inputs is None else "both"
            yield Problem("", f"expected input_shape or inputs, found {found}")
        elif self.inputs == {}:
            yield Problem("inputs", "expected at least one input, found none")
        if not self.layers:
            yield Problem("layers", "expected at least one layer, found none")
            return
        inputs = [("input", "input_shape")]
        if self.inputs is not None:
            inputs = [(name, f"inputs.{printable(name)}") for name in self.inputs]
        yield from name_problems(inputs, list(self.layers))
        for name, node in self.layers.items():
            yield from self._node_problems(name, node, custom)
        if not self.layers.keys() & {name for name, _ in inputs}:  # otherwise reported above
            yield from or_else(self._graph.problems(), self._index_problems())

    def _index_problems(self) -> Iterator[Problem]:
        """Yield a problem for non-integer indices, which Keras would silently truncate."""
        specs = {spec.name: spec for spec in self.input_specs()}
        for name, (layer, _) in self.index_limits().items():
            if not specs[name].dtype.startswith(("int", "uint")):
                shape = ", ".join(str(axis or "null") for axis in specs[name].shape)
                yield Problem(
                    f"layers.{printable(layer)}",
                    f"Embedding takes integers, its input '{name}' is {specs[name].dtype}",
                    f"declare it: inputs: {{{name}: {{shape: [{shape}], dtype: int32}}}}",
                )

    def _node_problems(self, name: str, node: LayerNode, custom: bool) -> Iterator[Problem]:
        place = f"layers.{printable(name)}"
        if node.class_name is not None and node.reuse is not None:
            yield Problem(place, "has both class_name and reuse", "keep one")
        elif node.class_name is not None:
            if "name" in node.arguments:
                yield Problem(f"{place}.name", f"a layer's name is its key, '{name}'", "remove it")
            if (parts := _parts(node.arguments)) > _MOST_PARTS:
                message = f"holds {parts:,} objects, the limit is {_MOST_PARTS}"
                yield Problem(place, message, "use several layers")
                return
            yield from argument_problems(
                "layers", node.class_name, node.arguments, place, custom=custom
            )
        elif node.reuse is None:
            typed = ((key, suggest(key, ("class_name", "reuse"))) for key in node.arguments)
            key, advice = next((hit for hit in typed if hit[1]), ("", "add class_name: ..."))
            yield Problem(join(place, key), "expected class_name or reuse, found neither", advice)
        else:
            yield from self._reuse_problems(place, node.reuse, node.arguments)

    def _reuse_problems(
        self, place: str, reused: str, arguments: Mapping[str, Any]
    ) -> Iterator[Problem]:
        layers = [name for name, node in self.layers.items() if node.reuse is None]
        if reused not in self.layers:
            advice = suggest(reused, layers) or f"layers are {', '.join(layers)}"
            yield Problem(f"{place}.reuse", f"layer '{reused}' is undefined", advice)
        elif (original := self.layers[reused].reuse) is not None:
            advice = f"reuse that layer: {original}"
            yield Problem(f"{place}.reuse", f"'{reused}' is a reuse of '{original}'", advice)
        for argument in arguments:
            yield Problem(
                f"{place}.{argument}",
                f"a reused layer keeps its arguments, found '{argument}'",
                f"set it on '{reused}'",
            )
