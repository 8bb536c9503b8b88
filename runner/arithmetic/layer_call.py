"""One call of a layer for one sample: all that its output was computed from."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from runner.arithmetic.account import not_covered
from runner.errors import InputError
from runner.record.record import LayerRecord
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
        The layer's name for it.
    source
        The name of the tensor, or of an input of the model.
    values
        Shape (*axes of the sample).
    labels
        A name for each value, flat, where they have names of their own.
    """

    argument: str
    source: str
    values: np.ndarray
    labels: tuple[str, ...] = ()

    def label(self, place: tuple[int, ...]) -> str:
        """Return what one of its values is called: ``input3``, ``hidden u2``, ``map u0_1_2``."""
        if self.labels:
            return self.labels[int(np.ravel_multi_index(place, self.values.shape))]
        return f"{self.source} u{'_'.join(map(str, place))}" if place else self.source


@dataclass(frozen=True)
class LayerCall:
    """A call of one of Keras's layers, read back for one sample.

    Attributes
    ----------
    run
        The run.
    name
        Name of the tensor that the layer put out.
    layer
        The layer.
    wiring
        What it was called on.
    row
        Which sample: its row, from 0.
    """

    run: Run
    name: str
    layer: LayerRecord
    wiring: CallWiring
    row: int
    _weights: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def read(cls, run: Run, name: str, row: int) -> LayerCall:
        """Find a call in a run.

        Raises
        ------
        InputError
            If there is no such tensor, or the run does not say what its layer did.
        """
        tensor = run.tensor(name, "activation")
        layer = next(layer for layer in run.record.layers if layer.path == tensor.layer_path)
        called = name if tensor.output is None else name.removesuffix(f":{tensor.output}")
        wiring = next((call for call in layer.calls if call.name == called), None)
        if wiring is None or layer.arguments is None:
            what = f"{layer.layer_class} layers" if layer.calls else "runs without their wiring"
            raise not_covered(name, what, "docs/explain.md lists what is")
        return cls(run, name, layer, wiring, row)

    @property
    def arguments(self) -> dict[str, Any]:
        """What the layer was made with."""
        return self.layer.arguments or {}

    @property
    def training(self) -> bool:
        """Whether the layer ran as in training."""
        probe = self.run.record.probe
        return self.wiring.settings.get("training", probe is not None and probe.training) is True

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The type that numbers are shown in: the layer's own, float32 for those below."""
        computed = self.arguments.get("dtype") or self.run.tensor(self.name, "activation").dtype
        return np.dtype("float64" if computed == "float64" else "float32")

    @property
    def epsilon(self) -> float:
        """Distance from 1 to the next number of the coarsest type on the way."""
        names = [str(self.arguments.get("dtype")), self.run.tensor(self.name, "activation").dtype]
        return max(_FLOATS.get(name, 0.0) for name in (*names, "float64"))

    @cached_property
    def output(self) -> np.ndarray:
        """The stored output: shape (*axes of the sample)."""
        return self._values(self.name, "activation")

    @cached_property
    def operands(self) -> list[Operand]:
        """What the layer was called on."""
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

    def has_weight(self, name: str) -> bool:
        """Tell whether the run holds a weight of the layer's, named as in `weight`."""
        return self._has(f"{self.layer.path}/{name}", "weight")

    def _operand(self, wire: Wire) -> Operand:
        if wire.model_input is not None:
            return self._shown(wire)
        if wire.tensor is not None and self._has(wire.tensor, "activation"):
            return Operand(wire.argument, wire.tensor, self._values(wire.tensor, "activation"))
        if len(self.wiring.wires) == 1 and self._has(self.name, "input"):
            return Operand(wire.argument, "input", self._values(self.name, "input"))
        what = f"'{wire.tensor}'" if wire.tensor else "something inside its parent"
        raise InputError.of(
            self.name,
            f"was called on {what}, which was not captured",
            "capture it, or add input to capture.kinds",
        )

    def _has(self, name: str, kind: Kind) -> bool:
        return any((own.kind, own.name) == (kind, name) for own in self.run.record.tensors)

    def _values(self, name: str, kind: Kind) -> np.ndarray:
        """Read one sample of a tensor, as far into its table as needed."""
        tensor = self.run.tensor(name, kind)
        if tensor.reduction is not None:
            what = "" if name == self.name else f"was called on '{name}', which "
            raise InputError.of(self.name, f"{what}was stored reduced to its {tensor.reduction}")
        before = 0
        for block in self.run.blocks(name, kind):
            if self.row < before + len(block):
                return np.asarray(block[self.row - before])
            before += len(block)
        raise InputError.of(self.name, f"'{name}' has no row {self.row}")

    def _shown(self, wire: Wire) -> Operand:
        """Return what an input of the model was shown."""
        record = self.run.record.probe
        assert record is not None
        names = [spec.name for spec in record.inputs]
        name = str(wire.model_input)
        if name not in names:  # the only one, or given by its place in a list
            name = names[int(name)] if name.isdecimal() and int(name) < len(names) else names[0]
        if not record.has_inputs:
            raise InputError.of(self.name, "was called on the probe, which was too large to keep")
        shown = self.run.shown.input(name, np.array([self.row]))
        return Operand(wire.argument, name, shown.values[0], shown.entry_names)
