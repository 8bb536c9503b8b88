"""Plant faults in models, and see which layer is named first; ``python -m benchmarks.faults``.

Every fault is in one layer of a small model (`benchmarks.fault_models`). The copy is converted to
LiteRT or ONNX, quantized, or ported to PyTorch, and the probe of the run of the model without
a fault is shown to it. A fault is found if the verdict of ``runner diff`` names its layer first.
A clean copy must not be alarmed of. The runs stay in the folder ``--runs``: with
``KERAS_BACKEND=torch``, ``--runs`` of TensorFlow and ``--ways keras``, Keras on PyTorch is judged.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

import runner
from benchmarks.fault_models import MODELS, inputs_of, made
from benchmarks.page import table
from benchmarks.planting import FAULTS
from runner.converted_models.loading import load_converted
from runner.errors import RunnerError
from runner.model.exporting import export_model
from runner.screen.diff import verdict

_SILENT = ("no layer is beyond its floor", "no layer differs")


@dataclass(frozen=True)
class Finding:
    """What was said of a copy.

    Attributes
    ----------
    way
        What was made of it.
    model
        The name of the model.
    layer, kind
        The layer of the fault, and what is wrong; empty for a clean copy.
    said
        The verdict.
    """

    way: str
    model: str
    layer: str
    kind: str
    said: str

    @property
    def is_right(self) -> bool:
        """Whether the layer is named first, or nothing is alarmed of."""
        if not self.layer:
            return self.said.startswith(_SILENT)
        return self.said.split(" ")[0].split("/")[0] == self.layer

    def __str__(self) -> str:
        mark = "right" if self.is_right else "WRONG"
        return f"{mark}  {self.way}, {self.model}, {self.layer} {self.kind}: {self.said}"


Made = tuple[Any, Path | None]
"""A model to show, and a file that says which of its layers belong to those of the run."""


def _exported(model: keras.Model, path: Path) -> Made:
    export_model(model, path)
    return load_converted(str(path), "model.path"), None


def _litert(model: keras.Model, folder: Path) -> Made:
    return _exported(model, folder / "m.tflite")


def _onnx(model: keras.Model, folder: Path) -> Made:
    return _exported(model, folder / "m.onnx")


def _litert_int8(model: keras.Model, folder: Path) -> Made:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    samples = inputs_of(model)
    converter.representative_dataset = lambda: ([row[None]] for row in samples)
    with contextlib.redirect_stdout(io.StringIO()):
        (folder / "m.tflite").write_bytes(converter.convert())
    return load_converted(str(folder / "m.tflite"), "model.path"), None


def _onnx_int8(model: keras.Model, folder: Path) -> Made:
    from onnxruntime.quantization import quantize_dynamic

    export_model(model, folder / "m.onnx")
    # Sums of larger integers are cut off on processors without VNNI.
    quantize_dynamic(folder / "m.onnx", folder / "q.onnx", reduce_range=True)
    return load_converted(str(folder / "q.onnx"), "model.path"), None


def _keras(model: keras.Model, folder: Path) -> Made:  # noqa: ARG001
    return model, None


def _keras_int8(model: keras.Model, folder: Path) -> Made:  # noqa: ARG001
    model.quantize("int8")
    return model, None


def _port(model: keras.Model, folder: Path) -> Made:
    from benchmarks.ports import in_place_of

    return in_place_of(model, folder / "map.yaml"), None


def _port_with_map(model: keras.Model, folder: Path) -> Made:
    return _port(model, folder)[0], folder / "map.yaml"


WAYS: dict[str, Callable[[keras.Model, Path], Made]] = {
    "keras": _keras,
    "litert": _litert,
    "onnx": _onnx,
    "keras int8": _keras_int8,
    "litert int8": _litert_int8,
    "onnx int8": _onnx_int8,
    "port": _port,
    "port with a map": _port_with_map,
}
"""By name: what is made of a copy of a model. Quantized copies have errors of their own."""


def judged(run: runner.Run, model: Any, map_file: Path | None = None) -> str:
    """Return the verdict about a model that is shown the probe of a run."""
    with tempfile.TemporaryDirectory() as place:
        new = run.rerun(model=model, path=Path(place, "new"))
        return verdict(runner.diff(run, new, map=map_file, weights=False))


def planted(way: str, name: str, run: runner.Run, model: keras.Model) -> Iterator[Finding]:
    """Yield what is said of the copies of a model: of the clean one, and of each faulty one."""
    faults = [fault for fault in FAULTS if fault.model == name]
    for fault in faults if "int8" in way else [None, *faults]:
        with tempfile.TemporaryDirectory() as place:
            copy = keras.models.clone_model(model)
            copy.set_weights(model.get_weights())
            try:
                faulty = copy if fault is None else fault.planted(model)
                if fault is not None and _return_the_same(faulty, model):
                    raise ValueError(f"{name}: {fault.layer} {fault.kind} changes no output")
                shown, map_file = WAYS[way](faulty, Path(place))
                if shown is None:
                    return
                said = judged(run, shown, map_file)
            except RunnerError as error:
                said = str(error)
            layer, kind = ("", "") if fault is None else (fault.layer, fault.kind)
            yield Finding(_on_backend(way), name, layer, kind, said)


def _return_the_same(one: keras.Model, other: keras.Model) -> bool:
    samples = inputs_of(one)
    return np.array_equal(*(keras.ops.convert_to_numpy(each(samples)) for each in (one, other)))


def planted_in_graph(name: str, run: runner.Run, model: keras.Model) -> Iterator[Finding]:
    """Yield what is said of ONNX files in which operations were changed."""
    from benchmarks.graph_planting import GRAPH_FAULTS

    with tempfile.TemporaryDirectory() as place:
        clean, path = Path(place, "clean.onnx"), Path(place, "m.onnx")
        export_model(model, clean)
        for fault in GRAPH_FAULTS:
            if fault.model == name:
                fault.planted(clean, path)
                said = judged(run, load_converted(str(path), "model.path"))
                yield Finding("onnx graph", name, fault.layer, fault.kind, said)


def _on_backend(way: str) -> str:
    backend = keras.backend.backend()
    return way if backend == "tensorflow" else f"{way} on {backend}"


def base_of(folder: Path, name: str) -> tuple[runner.Run, keras.Model]:
    """Return the run of a model without a fault, and the model; made if it is not there."""
    file = folder / f"{name}.keras"
    if not file.exists():
        model = made(name)
        runner.save_run(model, inputs_of(model), folder / name)
        model.save(file)
    return runner.open_run(folder / name), keras.models.load_model(file)


def counted(findings: Sequence[Finding], key: Callable[[Finding], str]) -> str:
    """Return a table of how many were right, by what a key returns."""
    rows = []
    for each in dict.fromkeys(map(key, findings)):
        own = [one for one in findings if key(one) == each]
        rows.append([each, str(len(own)), str(sum(one.is_right for one in own))])
    return table(["", "copies", "right"], rows)


def main() -> None:
    """Print what is said of each copy, and how often it is right."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    ways = [*WAYS, "onnx graph"]
    parser.add_argument("--ways", default=",".join(ways), help="names, separated by commas")
    parser.add_argument("--models", default=",".join(MODELS), help="names, separated by commas")
    parser.add_argument("--runs", type=Path, help="a folder of the runs that copies are held to")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # those of converters
    findings: list[Finding] = []
    with contextlib.ExitStack() as scope:
        folder = arguments.runs or Path(scope.enter_context(tempfile.TemporaryDirectory()))
        for name in arguments.models.split(","):
            run, model = base_of(folder, name)
            for way in arguments.ways.split(","):
                if way == "onnx graph":
                    found = planted_in_graph(name, run, model)
                else:
                    found = planted(way, name, run, model)
                for each in found:
                    findings.append(each)
                    sys.stdout.write(f"{each}\n")
                    sys.stdout.flush()
    for key in (lambda one: one.way, lambda one: one.kind or "clean"):
        sys.stdout.write(f"\n{counted(findings, key)}")


if __name__ == "__main__":
    main()
