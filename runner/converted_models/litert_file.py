"""LiteRT (TensorFlow Lite) models, computed by LiteRT without its delegates."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from runner.converted_models.graph import (
    Constant,
    ConvertedModel,
    Key,
    Quantization,
    kind,
    unique,
)
from runner.converted_models.litert_cut import cut_at
from runner.converted_models.litert_numbers import with_real_numbers
from runner.converted_models.litert_sizes import check_unfolded
from runner.engines.settings import Backend
from runner.errors import InputError, first_line
from runner.model.backend import stderr_kept_back
from runner.regular_files import read_at_most
from runner.sizes import machine_memory, readable
from runner.tensors import InputSpec

# The arguments of operations with weights, in order.
_KERNEL = ("input", "kernel", "bias")
_ARGUMENTS = {
    "CONV_2D": _KERNEL,
    "CONV_3D": _KERNEL,
    "DEPTHWISE_CONV_2D": _KERNEL,
    "FULLY_CONNECTED": _KERNEL,
    "TRANSPOSE_CONV": ("shape", "kernel", "input", "bias"),
    "GATHER": ("input", "indices"),
}
_WITH_BODIES = ("WHILE", "IF", "STABLEHLO_WHILE", "STABLEHLO_COMPOSITE")
_INSIDE = "opaque: LiteRT does not tell the operations inside, only what they return"
_MOST = 16  # numbers in an argument, enough for any shape


class LiteRTModel(ConvertedModel):
    """A ``.tflite`` file.

    Parameters
    ----------
    path
        The file.
    content
        What is computed in place of its content.

    Raises
    ------
    InputError
        If LiteRT cannot read it, or it declares tensors larger than this machine's memory.
    """

    of_maps = (
        *("CONV_2D", "CONV_3D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "AVERAGE_POOL_2D"),
        *("MAX_POOL_2D", "L2_POOL_2D"),
    )
    of_units = ("FULLY_CONNECTED",)

    def __init__(self, path: Path, content: bytes | None = None) -> None:
        super().__init__(path)
        self._changed = content
        self._rows: int | None = None
        self._cut: tuple[Interpreter, dict[int, int], int] | None = None
        if content is None:
            check_unfolded(path)
        try:
            read = {"model_path": str(path)} if content is None else {"model_content": content}
            self._interpreter = _interpreter(**read)
            self._tensors = {each["index"]: each for each in self._interpreter.get_tensor_details()}
            self._check_size()
            with stderr_kept_back(shown=False):
                self._interpreter.allocate_tensors()
            for each in self._interpreter.get_input_details():
                self._add_input(each)
            self.check_inputs()
            self.outputs = [each["index"] for each in self._interpreter.get_output_details()]
            self._add_operations()
        except InputError:
            raise
        except (ValueError, RuntimeError) as error:
            raise InputError.of(
                "model.path", f"{path} cannot be loaded by LiteRT: {first_line(error)}"
            ) from error

    def _check_size(self) -> None:
        size = sum(
            int(np.prod(each["shape"], dtype=object)) * np.dtype(each["dtype"]).itemsize
            for each in self._tensors.values()
        )
        memory = machine_memory()
        if memory is not None and size > memory:
            raise InputError.of(
                "model.path",
                f"{self.path} declares tensors of {readable(size)}, this machine has "
                f"{readable(memory)} of memory",
            )

    def _add_input(self, details: dict[str, Any]) -> None:
        first, *shape = (int(axis) for axis in details["shape_signature"])
        if first != -1:
            self.batch_size = first
        is_alone = len(self._interpreter.get_input_details()) == 1
        name = details["name"].removesuffix(":0").removeprefix("serving_default_")
        quantized = self._quantization(details) is not None
        self.inputs[details["index"]] = InputSpec(
            "input" if is_alone else name,
            tuple(None if axis == -1 else axis for axis in shape),
            "float32" if quantized else np.dtype(details["dtype"]).name,
        )

    def _add_operations(self) -> None:
        """Add the operations of the main graph; those of the bodies of loops are inside them."""
        described = self._interpreter._get_ops_details()  # its only description of operations
        computed = {int(key) for each in described for key in each["outputs"]} | {*self.inputs}
        constants: dict[int, Constant] = {}
        taken: dict[str, int] = {}
        for each in described:
            outputs = [int(key) for key in each["outputs"] if key >= 0]
            if not outputs:
                continue
            names = _ARGUMENTS.get(each["op_name"], ())
            inputs: list[tuple[str, Key]] = []
            weights: list[tuple[str, Constant]] = []
            arguments: dict[str, Any] = {"module": "litert"}
            for position, key in enumerate(map(int, each["inputs"])):
                name = names[position] if position < len(names) else f"input{position}"
                if key < 0:
                    continue
                if key in computed:
                    inputs.append((name, key))
                    continue
                if key in constants:  # many operations may have the same one
                    weights.append((name, constants[key]))
                    continue
                value = self._value(key)
                if self._is_setting(key, value):
                    arguments[name] = value.tolist()
                else:
                    constants[key] = Constant(value)
                    weights.append((name, constants[key]))
            arguments |= self._quantized_output(outputs[0])
            path = unique(str(self._tensors[outputs[0]]["name"]), taken)
            made = kind(each["op_name"])
            self.operations.append(made(path, inputs, outputs, weights, arguments))
            if each["op_name"] in _WITH_BODIES:
                self.inside.append((f"{path}/body", each["op_name"], _INSIDE))

    def _is_setting(self, key: int, value: np.ndarray) -> bool:
        is_integer = value.dtype.kind in "iub" and self._quantization(self._tensors[key]) is None
        return is_integer and value.size <= _MOST

    def _quantized_output(self, key: int) -> dict[str, Any]:
        found = self._quantization(self._tensors[key])
        if found is None or found.scale.size > _MOST:
            return {}
        return {
            "stored_as": np.dtype(self._tensors[key]["dtype"]).name,
            "scale": found.scale.tolist(),
            "zero_point": found.zero_point.tolist(),
        }

    @staticmethod
    def _quantization(details: dict[str, Any]) -> Quantization | None:
        found = details["quantization_parameters"]
        if not len(found["scales"]) or np.dtype(details["dtype"]).kind not in "iu":
            return None
        return Quantization(found["scales"], found["zero_points"], found["quantized_dimension"])

    def _value(self, key: int, interpreter: Interpreter | None = None) -> np.ndarray:
        """Return the present value of a tensor, as real numbers."""
        value = np.asarray((interpreter or self._interpreter).get_tensor(key))
        quantization = self._quantization(self._tensors[key])
        return value if quantization is None else quantization.dequantized(value)

    def compute(
        self,
        inputs: Sequence[np.ndarray],
        wanted: Collection[Key],
        given: Mapping[Key, np.ndarray] | None = None,
    ) -> Mapping[Key, np.ndarray]:
        """Return the values of tensors, as real numbers, without delegates."""
        arrays = dict(zip(self.inputs, inputs, strict=True))
        if given:
            interpreter, places, rows = self._cut_at(given)
            arrays |= {places[int(key)]: values for key, values in given.items()}
            self._cut = interpreter, places, len(inputs[0])
        else:
            interpreter, rows, self._rows = self._interpreter, self._rows or 0, len(inputs[0])
        if rows != len(inputs[0]):
            self._resize(interpreter, arrays)
        self._invoke(interpreter, arrays)
        return {key: self._value(int(key), interpreter) for key in wanted}

    def _cut_at(self, given: Mapping[Key, np.ndarray]) -> tuple[Interpreter, dict[int, int], int]:
        """Return the model cut at tensors, the inputs in place of them, and its batch size."""
        if self._cut is None or self._cut[1].keys() != given.keys():
            content, places = cut_at(self._content(), [int(key) for key in given])
            self._cut = _interpreter(model_content=content), places, 0
        return self._cut

    def _content(self) -> bytes:
        if self._changed is not None:
            return self._changed
        return read_at_most(self.path, self.path.stat().st_size, "model.path")

    def unrounded(self) -> LiteRTModel | None:
        """Return the model with real numbers in place of its integers."""
        content = with_real_numbers(self._content())
        return None if content is None else LiteRTModel(self.path, content)

    def deployed(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the model's outputs as LiteRT computes them by default, with XNNPACK."""
        arrays = dict(zip(self.inputs, inputs, strict=True))
        with stderr_kept_back():
            interpreter = Interpreter(str(self.path))
            self._resize(interpreter, arrays)
        self._invoke(interpreter, arrays)
        found = []
        for details in interpreter.get_output_details():
            value = interpreter.get_tensor(details["index"])
            quantization = self._quantization(details)
            found.append(value if quantization is None else quantization.dequantized(value))
        return found

    def _resize(self, interpreter: Interpreter, arrays: Mapping[Key, np.ndarray]) -> None:
        for key, array in arrays.items():
            interpreter.resize_tensor_input(key, array.shape, strict=True)
        interpreter.allocate_tensors()

    def _invoke(self, interpreter: Interpreter, arrays: Mapping[Key, np.ndarray]) -> None:
        described = {each["index"]: each for each in interpreter.get_input_details()}
        interpreter.reset_all_variables()
        for key, array in arrays.items():
            details = described[key]
            dtype, quantization = np.dtype(details["dtype"]), self._quantization(details)
            given = array if quantization is None else quantization.quantized(array, dtype)
            interpreter.set_tensor(key, np.ascontiguousarray(given, dtype))
        interpreter.invoke()

    def read_backend(self) -> Backend:
        """Return the version of LiteRT and its settings."""
        return Backend(
            name="litert",
            intra_op_threads=1,
            version=version("ai-edge-litert"),
            devices=("cpu",),
            precision="kernels of LiteRT without delegates",
        )


def _interpreter(**model: Any) -> Interpreter:
    """Return an interpreter that keeps all tensors, without delegates."""
    return Interpreter(
        **model,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
