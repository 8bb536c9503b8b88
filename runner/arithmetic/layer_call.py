"""One call of a layer for one sample: its inputs, weights and output."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from runner.arithmetic.account import not_covered
from runner.arithmetic.derived import evaluate, told
from runner.arithmetic.derived_operations import Derived, MixedSamplesError
from runner.arithmetic.functions import FUNCTIONS
from runner.errors import InputError
from runner.model.backend import ENGINES
from runner.record.layer_record import LayerRecord
from runner.runs.published_run import Run
from runner.tensors import Kind
from runner.wiring import CallWiring, Wire

_FLOATS = {"float64": 2.0**-52, "float32": 2.0**-23, "bfloat16": 2.0**-7, "float16": 2.0**-10}


@dataclass(frozen=True)
class Operand:
    """One tensor that a layer was called on, for one sample.

    Attributes
    ----------
    argument
        Name of the layer's argument.
    source
        Name of the tensor, or of the model's input.
    values
        Shape (*axes of the sample).
    labels
        Name of each value, flat; empty if values are named by their position.
    """

    argument: str
    source: str
    values: np.ndarray
    labels: tuple[str, ...] = ()

    def label(self, place: tuple[int, ...]) -> str:
        """Return the name of one of the values: ``input3``, ``hidden u2``, ``map u0_1_2``."""
        if self.labels:
            return self.labels[int(np.ravel_multi_index(place, self.values.shape))]
        return f"{self.source} u{'_'.join(map(str, place))}" if place else self.source


@dataclass(frozen=True)
class LayerCall:
    """A call of a Keras layer, read from a run for one sample.

    Attributes
    ----------
    run
        The run.
    name
        Name of the output tensor.
    layer
        Record of the layer.
    wiring
        Record of the call: the tensors and settings that it was made with.
    row
        Row of the sample, from 0.
    """

    run: Run
    name: str
    layer: LayerRecord
    wiring: CallWiring
    row: int
    _weights: dict[str, np.ndarray] = field(default_factory=dict)
    _rounded: list[int] = field(default_factory=list)

    @classmethod
    def read(cls, run: Run, name: str, row: int) -> LayerCall:
        """Find a call in a run by its output tensor.

        A custom layer that returns the output of a layer inside it is replaced by that layer.

        Raises
        ------
        InputError
            If there is no such tensor, or the run does not record how it was computed.
        """
        tensor = run.tensor(name, "activation")
        layer = next(layer for layer in run.record.layers if layer.path == tensor.layer_path)
        called = name if tensor.output is None else name.removesuffix(f":{tensor.output}")
        wiring = next((call for call in layer.calls if call.name == called), None)
        if wiring is None:
            what = (
                f"{layer.layer_class} layers"
                if layer.calls
                else "runs that do not record the inputs of their layers"
            )
            raise not_covered(name, what, "docs/explain.md lists what is")
        if layer.arguments is None and tensor.alias_of is not None:
            return cls.read(run, tensor.alias_of, row)
        return cls(run, name, layer, wiring, row)

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments that the layer was created with."""
        return self.layer.arguments or {}

    @property
    def activation(self) -> str:
        """Name of the layer's activation function, a key of `FUNCTIONS`.

        Raises
        ------
        InputError
            If the function is not covered.
        """
        given = self.arguments.get("activation") or "linear"
        # A layer that is used as an activation function is recorded with its configuration.
        name = str(given.get("class_name") if isinstance(given, dict) else given)
        if name not in FUNCTIONS:
            raise not_covered(
                self.name, f"activations such as '{name}'", f"{', '.join(FUNCTIONS)} are"
            )
        return name

    @property
    def training(self) -> bool:
        """Whether the layer ran in training mode."""
        probe = self.run.record.probe
        return self.wiring.settings.get("training", probe is not None and probe.training) is True

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type in which numbers are shown: float64 for float64 layers, otherwise float32."""
        computed = self.arguments.get("dtype") or self.run.tensor(self.name, "activation").dtype
        return np.dtype("float64" if computed == "float64" else "float32")

    @property
    def epsilon(self) -> float:
        """Distance from 1 to the next number, in the coarsest type of the computation."""
        names = [str(self.arguments.get("dtype")), self.run.tensor(self.name, "activation").dtype]
        return max(_FLOATS.get(name, 0.0) for name in (*names, "float64"))

    @cached_property
    def output(self) -> np.ndarray:
        """The stored output: shape (*axes of the sample)."""
        return self._values(self.name, "activation")

    @cached_property
    def operands(self) -> list[Operand]:
        """Inputs that the layer was called on."""
        return [self._operand(wire) for wire in self.wiring.wires]

    @property
    def operand(self) -> Operand:
        """The one tensor that the layer was called on.

        Raises
        ------
        InputError
            If there are several.
        """
        if len(self.wiring.wires) != 1:
            masked = any(wire.argument == "mask" for wire in self.wiring.wires)
            raise not_covered(self.name, "masked inputs" if masked else "several inputs")
        return self.operands[0]

    def weight(self, name: str) -> np.ndarray:
        """Return one of the layer's weights, or of a layer inside it (``query/kernel``)."""
        if name not in self._weights:
            self._weights[name] = self.run.array(f"{self.layer.path}/{name}", "weight")
        return self._weights[name]

    def entry(self, name: str, unit: Any, without: float) -> float:
        """Return an entry of a weight, and the given number for a layer without that weight."""
        return float(self.weight(name)[unit]) if self.has_weight(name) else without

    def has_weight(self, name: str) -> bool:
        """Return whether the run holds a weight of the layer, named as in `weight`."""
        return self._has(f"{self.layer.path}/{name}", "weight")

    def _operand(self, wire: Wire) -> Operand:
        if wire.model_input is not None:
            return self._shown(wire.argument, wire.model_input)
        if wire.tensor is not None and self._has(wire.tensor, "activation"):
            return Operand(wire.argument, wire.tensor, self._values(wire.tensor, "activation"))
        alone = len(self.wiring.wires) == 1
        captured = self.name if alone or wire.place is None else f"{self.name}:{wire.place}"
        if self._has(captured, "input"):
            return Operand(wire.argument, wire.argument, self._values(captured, "input"))
        if wire.derivation is not None:
            return self.derived(wire.argument, wire.derivation)
        if wire.tensor is not None:
            raise self._missing(f"'{wire.tensor}'")
        raise self._unnamed("a tensor computed in another way")

    def derived(self, argument: str, derivation: dict[str, Any]) -> Operand:
        """Compute a tensor that is not the output of a layer from stored tensors.

        Raises
        ------
        InputError
            If the tensor depends on other samples or on tensors that were not stored, or was
            computed by an operation that is not covered.
        """
        if "unknown" in derivation:
            backend = self.run.record.backend
            framework = ENGINES.get(backend.name) if backend is not None else None
            owner = framework.title if framework is not None else "TensorFlow"
            raise self._unnamed(f"the result of {owner}'s {derivation['unknown']}")
        try:
            found = evaluate(derivation, self._source)
        except (MixedSamplesError, ValueError, IndexError) as error:
            what = (
                "a tensor computed across the samples of a batch, or across axes of varying length"
            )
            raise self._unnamed(what) from error
        source = told(derivation)
        values = found.values
        if found.axis is not None:
            if found.axis or len(values) != 1:
                raise self._unnamed("a tensor without a sample axis")
            values = values[0]
        self._rounded.append(found.operations)
        return Operand(argument, source, np.asarray(values))

    def _source(self, named: dict[str, Any]) -> Derived:
        """Return the stored values of a tensor, an input of the model or a weight."""
        if "weight" in named:
            return Derived(self.run.array(named["weight"], "weight"))
        if "input" in named:
            return Derived(self._shown("", named["input"]).values[None], 0)
        if not self._has(named["tensor"], "activation"):
            raise self._missing(f"a tensor computed from '{named['tensor']}'")
        return Derived(self._values(named["tensor"], "activation")[None], 0)

    def _missing(self, what: str) -> InputError:
        return InputError.of(
            self.name,
            f"was called on {what}, which was not captured",
            "capture it, or add input to capture.kinds",
        )

    def _unnamed(self, what: str) -> InputError:
        does = "was called on" if self.layer.arguments is not None else "returns"
        return InputError.of(
            self.name,
            f"{does} {what}, which is not the output of a layer",
            "add input to capture.kinds" if self.layer.arguments is not None else "",
        )

    @property
    def rounded_before(self) -> int:
        """Number of rounded operations between the stored tensors and the layer's inputs."""
        return max(self._rounded, default=0)

    def _has(self, name: str, kind: Kind) -> bool:
        return any((own.kind, own.name) == (kind, name) for own in self.run.record.tensors)

    def _values(self, name: str, kind: Kind) -> np.ndarray:
        """Return one sample of a tensor."""
        tensor = self.run.tensor(name, kind)
        if tensor.reduction is not None:
            what = "" if name == self.name else f"was called on '{name}', which "
            raise InputError.of(self.name, f"{what}was stored reduced to its {tensor.reduction}")
        return sample_of(self.run, name, kind, self.row)

    def _shown(self, argument: str, model_input: str) -> Operand:
        """Return the sample's values of an input of the model."""
        record = self.run.probe_record
        names = [spec.name for spec in record.inputs]
        name = model_input
        if name not in names:  # the only input, or an index into the list of inputs
            name = names[int(name)] if name.isdecimal() and int(name) < len(names) else names[0]
        if not record.has_inputs:
            raise InputError.of(self.name, "was called on the probe, which was too large to keep")
        shown = self.run.shown.input(name, np.array([self.row]))
        return Operand(argument, name, shown.values[0], shown.entry_names)


def sample_of(run: Run, name: str, kind: Kind, row: int) -> np.ndarray:
    """Return the values of a tensor for one sample: shape (*axes of a sample)."""
    first, found = 0, None
    for block in run.blocks(name, kind):  # to the end, where the whole table is checked
        if first <= row < first + len(block):
            found = np.array(block[row - first])
        first += len(block)
    if found is None:
        raise InputError.of(name, f"its table has no row {row}")
    return found
