"""ONNX models, computed by ONNX Runtime without rewriting the graph."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from runner.converted_models.graph import (
    Constant,
    ConvertedModel,
    Key,
    Quantization,
    kind,
    unique,
)
from runner.converted_models.onnx_cut import GIVEN, cut_at
from runner.converted_models.onnx_data import load_model
from runner.converted_models.onnx_nodes import (
    MOST,
    attributes_of,
    constants_of,
    inside,
    named_inputs,
)
from runner.converted_models.onnx_numbers import with_real_numbers
from runner.converted_models.onnx_quantization import Quantizations
from runner.converted_models.onnx_session import OnnxSession
from runner.converted_models.onnx_sizes import DeclaredSizes
from runner.engines.settings import Backend
from runner.errors import InputError, first_line
from runner.tensors import InputSpec

_TYPES = {"tensor(float)": "float32", "tensor(double)": "float64"}  # others have NumPy's names
# Types that ONNX Runtime does not return as arrays; float32 has all their values.
_SMALL = ("bfloat16", "float8", "float4", "int4", "uint4", "int2", "uint2")
_WIDENED = "/float32"


class OnnxModel(ConvertedModel):
    """An ``.onnx`` file.

    Parameters
    ----------
    path
        The file.
    rounds
        Whether it computes with the integers of the file; otherwise with the real numbers that they
        stand for.

    Raises
    ------
    InputError
        If ONNX Runtime cannot read it, it has no inputs, or its data is not as it says.
    """

    channels_first = True
    of_maps = (
        *("Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "AveragePool", "MaxPool"),
        *("GlobalAveragePool", "GlobalMaxPool", "LpPool"),
    )
    of_units = ("Gemm", "MatMul")

    def __init__(self, path: Path, *, rounds: bool = True) -> None:
        super().__init__(path)
        self._rounds = rounds
        try:
            model = self._loaded()
            graph = model.graph
            self._sizes = DeclaredSizes(path)
            self._constants = dict(constants_of(graph))
            self.outputs = [each.name for each in graph.output]
            self._widened: set[str] = set()
            self._session = self._opened(model)
            self._cut: tuple[frozenset[str], OnnxSession] | None = None
            self._quantizations = Quantizations(graph.node, self._constants)
            for each in self._session.inputs:
                self._add_input(each)
            self.check_inputs()
            opset = next((each.version for each in model.opset_import if not each.domain), 1)
            self._add_operations(graph.node[: len(graph.node) - len(self._widened)], opset)
        except InputError:
            raise
        except Exception as error:  # those of its parser and of ONNX Runtime have no common class
            raise InputError.of(
                "model.path", f"{path} cannot be loaded by ONNX Runtime: {first_line(error)}"
            ) from error

    def _loaded(self) -> Any:
        model = load_model(self.path)
        if not self._rounds:
            with_real_numbers(model.graph)
        return model

    def unrounded(self) -> OnnxModel | None:
        """Return the model with real numbers in place of its integers."""
        has_integers = with_real_numbers(load_model(self.path).graph)
        return OnnxModel(self.path, rounds=False) if has_integers else None

    def _opened(self, model: Any) -> OnnxSession:
        """Return a session that returns every tensor, those of small types as float32."""
        graph = model.graph
        returned = {each.name for each in graph.output}
        graph.output.extend(
            onnx.ValueInfoProto(name=name)
            for node in graph.node
            for name in node.output
            if name and name not in returned
        )
        session = OnnxSession(model.SerializeToString(), rewritten=False)
        small = {each.name for each in session.outputs if _is_small(each.type)}
        if not small:
            return session
        for name in sorted(small):
            graph.node.append(
                onnx.helper.make_node("Cast", [name], [name + _WIDENED], to=onnx.TensorProto.FLOAT)
            )
            graph.output.append(onnx.ValueInfoProto(name=name + _WIDENED))
        self._widened = small
        return OnnxSession(model.SerializeToString(), rewritten=False)

    def _add_input(self, described: Any) -> None:
        first, *shape = described.shape or [None]
        if isinstance(first, int):
            self.batch_size = first
        is_alone = len(self._session.inputs) == 1
        if _is_small(described.type):
            raise InputError.of(
                "model.path",
                f"ONNX Runtime takes no {described.type[7:-1]} from an array, as the input "
                f"'{described.name}' needs",
                "export it with an input of float32",
            )
        dtype = _TYPES.get(described.type, described.type[len("tensor(") : -1])
        self.inputs[described.name] = InputSpec(
            "input" if is_alone else described.name,
            tuple(axis if isinstance(axis, int) else None for axis in shape),
            dtype,
        )

    def _add_operations(self, nodes: Sequence[Any], opset: int) -> None:
        """Add the operations of the main graph, and note those inside of them."""
        weights: dict[str, Constant] = {}
        taken: dict[str, int] = {}
        computed = {*self.inputs, *(name for node in nodes for name in node.output)}
        computed -= {*self._constants}
        for node in nodes:
            if node.op_type == "Constant":
                continue
            named = named_inputs(node, opset)
            arguments: dict[str, Any] = {"module": node.domain or "onnx", **attributes_of(node)}
            axis = arguments.get("axis")
            axis = axis if isinstance(axis, int) else None
            self._quantizations.add(node, dict(named), axis)
            inputs: list[tuple[str, Key]] = [(name, key) for name, key in named if key in computed]
            own: list[tuple[str, Constant]] = []
            for name, key in named:
                if key not in self._constants:
                    continue
                value = self._constants[key]
                if key in weights and not _is_setting(name, value):
                    own.append((name, weights[key]))
                    continue
                real = self._real(node, name, dict(named), axis)
                if real is not None or not _is_setting(name, value):
                    held = Constant(value if real is None else real)
                    own.append((name, weights.setdefault(key, held)))
                elif value.size <= MOST:
                    arguments[name] = value.tolist()
            outputs: list[Key] = [name for name in node.output if name]
            path = unique(node.name or next(filter(None, node.output), node.op_type), taken)
            self.operations.append(kind(node.op_type)(path, inputs, outputs, own, arguments))
            self.inside += inside(node, path)

    def _real(
        self, node: Any, name: str, named: Mapping[str, str], axis: int | None
    ) -> np.ndarray | None:
        """Return the real numbers that a constant of integers stands for, if that is known."""
        value = self._constants[named[name]]
        if value.dtype.kind not in "iu":
            return None
        found = self._quantizations.of_weight(node, name, named, axis)
        return found.dequantized(value) if found is not None and found.fits(value.shape) else None

    def compute(
        self,
        inputs: Sequence[np.ndarray],
        wanted: Collection[Key],
        given: Mapping[Key, np.ndarray] | None = None,
    ) -> Mapping[Key, np.ndarray]:
        """Return the values of tensors, as real numbers, without rewriting the graph."""
        self._sizes.check([array.shape for array in inputs])
        keys = [str(key) for key in wanted]
        computed = dict.fromkeys(keys)
        computed |= dict.fromkeys(name for key in keys for name in self._scales_of(key))
        names = [name + _WIDENED if name in self._widened else name for name in computed]
        fed, session = self._fed(inputs), self._session
        if given:
            taken = self._taken(given)
            session = self._session_cut_at(taken)
            fed |= {name + GIVEN: value for name, value in taken.items()}
        found = session.run(names, fed) if names else []
        values = {**self._constants, **dict(zip(computed, found, strict=True))}
        return {key: self._dequantized(str(key), values) for key in wanted}

    def _taken(self, given: Mapping[Key, np.ndarray]) -> dict[str, np.ndarray]:
        """Return values in the types of the tensors that they are read in place of."""
        types = {each.name: each.type for each in self._session.outputs}
        found: dict[str, np.ndarray] = {}
        for key, values in given.items():
            name = str(key)
            quantization = self._quantizations.of.get(name)
            if name in self._widened or not types[name].startswith("tensor("):
                continue
            dtype = np.dtype(_TYPES.get(types[name], types[name][len("tensor(") : -1]))
            if isinstance(quantization, Quantization) and dtype.kind in "iu":
                found[name] = quantization.quantized(values, dtype)
            elif quantization is None:
                found[name] = np.ascontiguousarray(values, dtype)
        return found

    def _session_cut_at(self, taken: Mapping[str, np.ndarray]) -> OnnxSession:
        """Return a session of the graph with further inputs in place of tensors."""
        names = frozenset(taken)
        if self._cut is None or self._cut[0] != names:
            model = self._loaded()
            cut_at(model.graph, {name: value.dtype for name, value in taken.items()})
            self._cut = names, self._opened(model)
        return self._cut[1]

    def deployed(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray | None]:
        """Return the model's outputs as ONNX Runtime computes them by default, rewritten."""
        session = OnnxSession(str(self.path), rewritten=True)
        names = [str(key) for key in self.outputs if key not in self._widened]
        names = [name for name in names if not self._scales_of(name)]
        found = session.run(names, self._fed(inputs)) if names else []
        values = {**self._constants, **dict(zip(names, found, strict=True))}
        return [
            self._dequantized(str(key), values) if key in names else None for key in self.outputs
        ]

    def _fed(self, inputs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        return {
            str(key): np.ascontiguousarray(array, spec.dtype)
            for (key, spec), array in zip(self.inputs.items(), inputs, strict=True)
        }

    def _scales_of(self, key: str) -> list[str]:
        """Return the computed tensors by which the integers of a tensor become real numbers."""
        found = self._quantizations.of.get(key)
        if found is None or isinstance(found, Quantization):
            return []
        names = (found.scale, found.zero_point)
        return [each for each in names if each is not None and each not in self._constants]

    def _dequantized(self, key: str, values: Mapping[str, np.ndarray]) -> np.ndarray:
        value, found = values[key], self._quantizations.of.get(key)
        if found is None or not isinstance(value, np.ndarray) or value.dtype.kind not in "iu":
            return value
        if isinstance(found, Quantization):
            return found.dequantized(value)
        return found.dequantized(value, values)

    def read_backend(self) -> Backend:
        """Return the version of ONNX Runtime and its settings."""
        return Backend(
            name="onnxruntime",
            intra_op_threads=0,
            version=onnxruntime.__version__,
            devices=("cpu",),
            precision="graph not rewritten",
        )


def _is_small(type: str) -> bool:
    return type.removeprefix("tensor(").startswith(_SMALL)


def _is_setting(name: str, value: np.ndarray) -> bool:
    """Return whether a constant is no weight: a shape, an axis, a scale."""
    if name.endswith(("_scale", "_zero_point")):
        return True
    return value.dtype.kind in "iub" and value.size <= MOST
