"""What each layer adds to the error of a run made again, and what rounding alone causes."""

from __future__ import annotations

import importlib
import io
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from forging import forge
from keras import layers
from making import make_run

import runner
from runner.capture.model_libraries import library_of
from runner.command_line.commands import main
from runner.errors import DamagedError
from runner.file_names import LAYER_ERRORS
from runner.probe.memory_sources import array_probe
from runner.readable_files import ReadableFile
from runner.runs.published_run import Run
from runner.sameness.blame import at_fault
from runner.sameness.difference import TensorDifference
from runner.sameness.error_table import ErrorRow, ErrorTable, read_errors
from runner.sameness.layer_errors import LayerError, errors_of
from runner.stores.digests import FileDigest

pytestmark = pytest.mark.filterwarnings("ignore:Layer .* does not support masking")


def varied() -> keras.Model:
    """Return a model with a mask, a loop, a shared layer, nested layers and one without effect."""
    keras.utils.clear_session()  # the names of operations are counted
    keras.utils.set_random_seed(3)
    given = keras.Input((6,), dtype="int32")
    rows = layers.Embedding(9, 4, mask_zero=True, name="rows")(given)
    read = layers.LSTM(5, return_sequences=True, name="read")(rows)
    seen = layers.MultiHeadAttention(2, 3, name="seen")(read, read)
    still = layers.Dropout(0.5, name="still")(seen)
    shared = layers.Dense(5, activation="tanh", name="shared")
    twice = shared(shared(still))
    inner_in = keras.Input((6, 5))
    inner = keras.Model(
        inner_in, layers.Dense(3, name="below")(layers.ReLU(name="cut")(inner_in)), name="inner"
    )
    joined = layers.Add(name="joined")([inner(twice), inner(read)])
    return keras.Model(given, layers.Dense(2, name="scores")(layers.Flatten(name="flat")(joined)))


TOKENS = np.random.default_rng(0).integers(0, 9, (7, 6)).astype("int32")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return runner.save_run(varied(), TOKENS, tmp_path_factory.mktemp("varied") / "base")


def measured(model: keras.Model, run: Run, **how: Any) -> dict[str, LayerError]:
    probe = array_probe("tokens", TOKENS)
    assert library_of(model)
    return errors_of(model, probe, run, **how)


def test_a_copy_adds_nothing(base: Run) -> None:
    found = measured(varied(), base)
    assert {*found} == {*base}
    assert {"rows", "seen/query", "shared@0", "shared@1", "inner@1/below", "still"} <= {*found}
    assert all(each == LayerError(0.0, 0.0, name) for name, each in found.items()), found


@pytest.mark.parametrize(
    ("layer", "at_fault", "clean"),
    [
        ("read", {"read"}, {"rows"}),
        ("shared", {"shared@0", "shared@1"}, {"rows", "read", "seen", "still"}),
        ("scores", {"scores"}, {"rows", "read", "seen", "still", "joined", "flat"}),
    ],
)
def test_the_layer_at_fault_stands_out(
    base: Run, layer: str, at_fault: set[str], clean: set[str]
) -> None:
    model = varied()
    changed = model.get_layer(layer)
    changed.set_weights([weight * 1.25 for weight in changed.get_weights()])
    found = measured(model, base)
    assert {name for name, each in found.items() if each.own} == at_fault
    assert not {name for name, each in found.items() if each.error} & clean
    assert found["scores"].error


def test_the_own_error_is_that_of_the_layer_alone(base: Run) -> None:
    model = varied()
    scores = model.get_layer("scores")
    scores.set_weights([weight * 1.25 for weight in scores.get_weights()])
    model.get_layer("rows").set_weights([model.get_layer("rows").get_weights()[0] * 2])
    found = measured(model, base)["scores"]
    alone = np.asarray(scores(base.array("flat")))
    of_run = base.array("scores")
    expected = np.abs(alone - of_run).max() / np.abs(of_run).max()
    assert found.own == pytest.approx(expected, rel=1e-4)
    assert found.error != pytest.approx(expected, rel=1e-2)


def test_one_bit_of_noise_is_about_one_bit_of_error(base: Run) -> None:
    found = measured(varied(), base, nudged=True)
    assert found["rows"].error == 0  # the tokens are integers
    owns = [each.own for each in found.values() if each.own]
    assert found["flat"].own == pytest.approx(2**-23, rel=1)
    assert len(owns) > 8
    assert max(owns) < 2e-5


def test_batches_are_added_up(base: Run) -> None:
    model = varied()
    run = runner.save_run(varied(), TOKENS, "small", batch_size=2)
    changed = model.get_layer("shared")
    changed.set_weights([weight * 1.25 for weight in changed.get_weights()])
    small, whole = measured(model, run), measured(model, base)
    for name, each in whole.items():
        assert small[name].own == pytest.approx(each.own, rel=1e-3, abs=1e-6)
        assert small[name].error == pytest.approx(each.error, rel=1e-3, abs=1e-6)


def test_another_model_is_told_what_it_adds(base: Run) -> None:
    model = varied()
    changed = model.get_layer("shared")
    changed.set_weights([weight * 1.25 for weight in changed.get_weights()])
    new = base.rerun(model=model, path="new")
    frame = runner.diff(base, new, weights=False).frame.set_index("tensor")
    assert [*frame.index[frame["adds"]]] == ["shared@0", "shared@1"]
    assert frame["own_error"]["scores"] == 0
    assert (frame["floor"] == 0).all()  # the tokens are integers
    assert 0 < frame["own_floor"]["scores"] < 1e-5
    assert "own_error" in runner.diff(new, base).frame
    assert runner.diff(new, base).frame["own_error"].isna().all()
    same = runner.diff(base, base.rerun(model=varied(), path="same"), weights=False)
    assert not same.frame["adds"].any()


CODE = """
import keras

fault = 1.0


@keras.saving.register_keras_serializable("planted")
class Scaled(keras.layers.Layer):
    def call(self, x):
        return x * fault


def build():
    given = keras.Input((4,))
    x = keras.layers.Dense(6, activation="relu", name="a", dtype="float32")(given)
    x = Scaled(name="b", dtype="float32")(x)
    x = keras.layers.Dense(5, name="c", dtype="float32")(x)
    return keras.Model(given, keras.layers.Dense(3, name="d", dtype="float32")(x))
"""


@pytest.fixture
def planted() -> Iterator[Any]:
    """Yield the module of a model in which a fault can be planted, and a run of the model."""
    Path("planted_nets.py").write_text(CODE)
    sys.path.insert(0, str(Path.cwd()))
    yield importlib.import_module("planted_nets")
    keras.saving.get_custom_objects().pop("planted>Scaled", None)


@pytest.mark.parametrize("kept", ["**", "d"])
def test_a_planted_fault_is_named(
    planted: Any, kept: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["model=function", "model.function=planted_nets:build", "probe=iris", "probe.rows=9"]
    base = runner.run(*words, f"capture.include=['{kept}']", "hydra.run.dir=base")
    again = ["rerun", "base", "capture.batch_size=4", "--trust-code"]
    assert main(again) == 0
    said = capsys.readouterr().out
    assert "\nno layer is beyond its floor\n" in said or "\nno layer differs\n" in said
    if kept == "d":
        assert base.rerun("capture.batch_size=4", trust_code=True, path="new").id
        table = json.loads(Path("new", LAYER_ERRORS).read_text())
        assert {*table["layers"]} == {"a", "b", "c", "d"}
        return
    planted.fault = 1.01
    assert main([*again, "--output", "faulty"]) == 1
    said = capsys.readouterr().out
    assert "floor      the run's model, with one bit of noise in the inputs of each layer" in said
    assert "own error  each layer given the values of the run" in said
    [line] = [line for line in said.splitlines() if " adds " in line]
    assert line.startswith("b adds 1e-02 (floor ")
    assert line.endswith("); 2 layers behind it inherit")
    found = runner.diff(base, runner.open_run("faulty"), weights=False)
    assert [each.tensor for each in found.tensors if each.adds] == ["b"]
    assert [each.within for each in found.tensors] == [True, False, False, False]


def test_a_clean_copy_in_another_dtype_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    base = runner.run("experiment=iris_mlp", "probe.rows=9", "hydra.run.dir=base")
    assert main(["rerun", "base", "model.dtype=bfloat16", "--output", "new"]) == 0
    said = capsys.readouterr().out
    assert "floor      the run's model in float64\n" in said
    assert "\nno layer is beyond its floor\n" in said
    found = runner.diff(base, runner.open_run("new"), weights=False)
    for each in found.tensors:
        assert each.floor is not None
        assert each.own_error is not None
        assert 2**-7 <= each.floor < 0.1  # that of bfloat16
    assert main(["report", "new", "--output", "page.html"]) == 0
    page = Path("page.html").read_text(encoding="utf-8")
    assert ">Made again</h2>" in page
    assert f"Largest differences from run {base.id}" in page
    assert f"<td>{found.tensors[-1].own_error:.2e}</td>" in page
    assert main(["diff", "base", "new", "--rtol", "1e-6", "--atol", "1e-6"]) == 1


def test_quantized_layers_are_those_at_fault(capsys: pytest.CaptureFixture[str]) -> None:
    runner.run("experiment=iris_mlp", "probe.rows=9", "hydra.run.dir=base")
    assert main(["rerun", "base", "-m", "model.quantize=null,int8"]) == 1
    said = capsys.readouterr().out
    [line] = [line for line in said.splitlines() if " adds " in line]
    assert line.startswith("model.quantize=int8: ")
    assert " (floor " in line


@pytest.mark.parametrize("content", [b"", b"{", b'{"run": "x", "layers": {"a": {"own": -1}}}'])
def test_a_damaged_file_of_errors_is_told(content: bytes) -> None:
    kept = ReadableFile("run/layer_errors.json", lambda: io.BytesIO(content))
    with pytest.raises(DamagedError, match=r"^run/layer_errors\.json: is no layer_errors\.json of"):
        read_errors(kept)


@pytest.mark.parametrize(("floor", "passes"), [(1e-3, True), (1.0, False), (float("inf"), False)])
def test_a_floor_that_is_far_above_rounding_lets_nothing_pass(
    floor: float, passes: bool, tmp_path: Path
) -> None:
    values = np.linspace(1, 2, 12, dtype=np.float32).reshape(3, 4)
    one = runner.open_run(make_run(tmp_path / "one", {"hidden": values}))
    other = make_run(tmp_path / "other", {"hidden": values * np.float32(1.005)})
    row = ErrorRow(error=0.005, own=0.0, floor=floor, own_floor=floor, dtype="float32")
    content = ErrorTable(run=one.id, layers={"hidden": row}).to_json()
    (other / LAYER_ERRORS).write_bytes(content)
    digest = vars(FileDigest.of(io.BytesIO(content)))
    forge(other, lambda record: record["files"].update({LAYER_ERRORS: digest}))
    assert [each.within for each in runner.diff(one, other).tensors] == [passes]


def test_what_a_range_cuts_off_is_inherited_from_the_layer_it_was_fitted_to() -> None:
    layers = [
        tensor_difference("noisy", own=0.01, error=0.01),
        tensor_difference("wrong", own=0.07, error=0.07),
        tensor_difference("cut_off", own=0.08, error=0.11),
        tensor_difference("fitted", own=0.20, error=0.03),
    ]
    cut_off = {"noisy": 0.0, "wrong": 0.06, "cut_off": 0.08, "fitted": 0.0}
    for known, name in ((cut_off, "wrong"), (cut_off | {"cut_off": 0}, "cut_off"), ({}, "fitted")):
        found = at_fault(layers, known)
        assert found is not None
        assert found.tensor == name
    assert at_fault([], {}) is None
    for error, name in ((0.06, "wrong"), (0.01, "fitted")):
        unrounded = {"noisy": 0.004, "wrong": error, "cut_off": 0.005, "fitted": 0.0}
        found = at_fault([replace(one, unrounded=unrounded[one.tensor]) for one in layers], {})
        assert found is not None
        assert found.tensor == name


def tensor_difference(name: str, *, own: float, error: float) -> TensorDifference:
    about = {"kind": "activation", "layer_class": "Dense", "shape": (3,), "dtype": "float32"}
    return TensorDifference(tensor=name, own_error=own, max_relative=error, adds=True, **about)
