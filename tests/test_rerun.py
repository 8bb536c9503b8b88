"""Runs that are made again elsewhere: with other keys, in another environment, of another model."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import runner
from runner.command_line.commands import main
from runner.errors import InputError
from runner.model.precision import quantize
from runner.record.reading import read_record
from runner.record.record import DIGEST, sealed
from runner.runs.published_run import Run
from runner.screen.diff import told

JAX, TORCH = (
    pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"{name} is not installed")
    for name in ("jax", "torch")
)
DIGITS = ["experiment=digits_mlp", "probe.rows=20"]
IRIS = ["experiment=iris_mlp", "probe.rows=9"]


def made(*words: str, name: str = "base") -> Run:
    return runner.run(*words, f"name={name}", f"hydra.run.dir=outputs/{name}")


def changed(folder: str, **fields: Any) -> None:
    """Change a record, and seal it again."""
    file = Path(folder) / "run.json"
    start, _, _ = file.read_bytes().partition(DIGEST)
    content = json.loads(start.rstrip().rstrip(b",") + b"}")
    for name, value in fields.items():
        content[name] = {**content[name], **value} if isinstance(value, dict) else value
    text = json.dumps(content, indent=2).encode()
    file.write_bytes(sealed(text.removesuffix(b"\n}") + b",\n" + DIGEST))


def test_a_quantized_model_has_the_weights_of_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    base = made(*DIGITS)
    assert main(["rerun", "base", "model.quantize=int8", "--output", "int8"]) == 1
    said = capsys.readouterr().out
    assert said.startswith(f"with model.quantize=int8\n\na  {base.id}\nb  ")
    assert "config.model.quantize: none | int8" in said
    assert "\ndiffers      error     floor  own error   max abs  within\n" in said
    assert "kernel" not in said
    again = runner.open_run("int8")
    assert again.record.weights_of == base.id
    assert again.config["model"]["quantize"] == "int8"
    assert again.record.overrides == ("experiment=digits_mlp", "probe.rows=20",
                                      "model.quantize=int8")  # fmt: skip
    scale = again.array("hidden_1/kernel_scale", "weight")
    kernel = again.array("hidden_1/kernel", "weight") / scale
    np.testing.assert_allclose(kernel, base.array("hidden_1/kernel", "weight"), atol=2e-3)
    found = runner.diff(base, again, weights=False)
    first = found.first_beyond
    assert first is not None
    assert first.tensor == "hidden_1"
    largest = np.abs(base.array("hidden_1")).max()
    apart = np.abs(again.array("hidden_1") - base.array("hidden_1")).max()
    assert first.max_relative == pytest.approx(apart / largest)
    worst = max(found.tensors, key=lambda tensor: tensor.own_error or 0)
    assert worst.own_error is not None
    assert f"\n{worst.tensor} adds {worst.own_error:.0e} (floor " in said
    assert "), the most of 3 layers\n" in said
    [kernel_row] = [t for t in runner.diff(base, again).tensors if t.tensor == "hidden_1/kernel"]
    assert kernel_row.why is None
    assert kernel_row.max_relative < 0.5 / 126


def test_several_are_told_in_one_table(capsys: pytest.CaptureFixture[str]) -> None:
    made(*IRIS)
    words = ["model.dtype=null,bfloat16,float64", "--output", "out"]
    assert main(["rerun", "base", "-m", *words]) == 0
    head, *rows, _, end = capsys.readouterr().out.splitlines()
    assert head.split() == ["with", "first", "that", "differs", "error", "largest", "error",
                            "within"]  # fmt: skip
    assert [row.split()[0] for row in rows] == [
        "model.dtype=null", "model.dtype=bfloat16", "model.dtype=float64",
    ]  # fmt: skip
    assert rows[0].split()[1:] == ["none", "0", "0", "yes"]
    assert rows[1].split()[1] == "normalize"
    assert end.startswith("PASS: 3 of 3 are equal to run ")
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "0_dtype=null", "1_dtype=bfloat16", "2_dtype=float64",
    ]  # fmt: skip
    exact, rounded, fine = (runner.open_run(path) for path in sorted(Path("out").iterdir()))
    kernel = exact.array("hidden/kernel", "weight")
    np.testing.assert_array_equal(kernel, fine.array("hidden/kernel", "weight"))
    assert fine.tensor("hidden").dtype == "float64"
    assert np.abs(kernel - rounded.array("hidden/kernel", "weight")).max() < 0.01


def test_one_that_fails_stops_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    made(*IRIS)
    assert main(["rerun", "-m", "model.quantize=int8", "model.dtype=float16,float64"]) == 1
    said = capsys.readouterr().out
    assert "model.quantize=int8 model.dtype=float16: model.quantize: Keras cannot do it:" in said
    assert said.splitlines()[-1].startswith("FAIL: 0 of 2 are equal to run ")
    assert said.count("failed") == 1


def test_weights_without_tables_are_drawn_again() -> None:
    base = made(*IRIS, "capture.kinds=[activation]")
    new = base.rerun("model.dtype=float64", "capture.kinds=[activation,weight]")
    drawn = made(*IRIS, name="other").array("hidden/kernel", "weight")
    np.testing.assert_array_equal(new.array("hidden/kernel", "weight"), drawn)
    assert new.path.is_relative_to(Path("outputs").absolute())


@pytest.mark.slow
def test_trained_weights_come_from_their_tables() -> None:
    words = [*IRIS, "train=fit", "train.epochs=2"]
    base = made(*words)
    new = base.rerun("model.dtype=float64")
    assert new.record.training is None
    assert new.config["train"] is None
    assert runner.diff(base, new, weights=False).same
    lacking = made(*words, "capture.kinds=[activation]", name="lacking")
    with pytest.raises(
        InputError,
        match=r"^run .* its tables do not have all its weights, and no seed gives those; run it",
    ):
        lacking.rerun("model.dtype=float64")


@pytest.mark.parametrize("kept", ["activation", "activation,weight"])
def test_weights_that_have_another_hash_are_not_compared(kept: str) -> None:
    made(*IRIS, f"capture.kinds=[{kept}]")
    changed("outputs/base", model={"sha256": "0" * 64})
    assert read_record(runner.open_run("base").stored).model is not None
    with pytest.raises(InputError, match="its weights cannot be restored: those found have ano"):
        runner.open_run("base").rerun("model.dtype=float64", path="new")
    assert not Path("new").exists()


def test_a_run_that_was_given_weights_is_repeated_with_them() -> None:
    base = made(*IRIS)
    new = base.rerun("model.dtype=bfloat16", path="new")
    again = new.rerun(path="again")
    assert again.record.weights_of == new.id
    assert runner.diff(new, again, exact=True).same
    quantized = base.rerun("model.quantize=float8", path="float8")
    assert runner.diff(quantized, quantized.rerun(path="again8"), exact=True).same
    with pytest.raises(
        InputError, match=f"^model.quantize: run {quantized.id} is quantized, and"
    ) as no:
        quantized.rerun("model.quantize=null")
    assert no.value.problems[0].advice == f"rerun the run whose weights it was given: {base.id}"


def test_a_model_from_a_file_is_made_again() -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="a")])
    model.save("m.keras")
    base = made("model=saved", "model.path=m.keras", "probe=random")
    new = base.rerun("model.dtype=float64")
    np.testing.assert_allclose(new.array("a"), base.array("a"), rtol=1e-5)


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("probe.rows=3", "probe.rows: chooses the samples, which are those of the run; leave it "
         "out"),
        ("probe=digits", "probe: chooses the samples, which are those of the run; leave it out"),
        ("seed=1", "seed: changes the weights, which are those of the run; leave it out"),
        ("model.weights=m.weights.h5", "model.weights: changes the weights, which are those of the "
         "run; leave it out"),
        ("train.epochs=2", "train.epochs: changes the weights, which are those of the run; leave "
         "it out"),
        ("optimizer.learning_rate=2", "optimizer.learning_rate: stays as it was; keys of backend, "
         "model, capture, format, name can change"),
        ("=3", "=3: has no key; type key=value"),
        ("modle.dtype=float64", "modle.dtype: unknown key; did you mean 'model'?"),
        ("model.dtpye=float64", "model.dtpye: unknown key; did you mean 'dtype'?"),
        ("model.hidden_units=4", "model.hidden_units: has no effect: the record holds the layers "
         "that were made with it; set the keys that it had a part in, such as "
         "model.layers.NAME.units"),
        ("model.layers.hiden.units=4", "model.layers.hiden: unknown key; did you mean 'hidden'?"),
        ("capture.batchsize=4", "capture.batchsize: unknown key; did you mean 'batch_size'?"),
        ("model=digits_mlp", "model: stands for many keys; set one of them: model.KEY=..., "
         "or litert or onnx"),
        ("~model.dtype", "model.dtype: cannot be taken away; give it another value: "
         "model.dtype=..."),
        ("model.dtype=float16,float64", "model.dtype: float16,float64 means several values; add -m "
         "to run them all, or quote it as one value: 'model.dtype=\"float16,float64\"'"),
        ("model.dtype=flaot16", "model.dtype: expected one of float16, bfloat16, float32, float64, "
         "mixed_float16, mixed_bfloat16, found 'flaot16'; did you mean 'float16'?"),
        ("backend=jaxx", "backend: expected one of tensorflow, jax, torch, found jaxx; did you "
         "mean 'jax'?"),
        ("--env=KERAS_BACKEND=jax", "env: KERAS_BACKEND is a key of the configuration; "
         "backend=..."),
        ("--env=A=b\0c", "env: 'b\\x00c' cannot be the value of a variable"),
        ("--env=A", "runner rerun: argument --env: expected NAME=VALUE, found 'A'; runner rerun "
         "--help lists the arguments"),
        ("model.layers.hidden.units=9", "run ID: its weight hidden/kernel has shape [4, 8], and "
         "with the overrides [4, 9]; override no key that changes weights"),
    ],
)  # fmt: skip
def test_what_cannot_be_overridden_is_told_in_one_line(
    word: str, line: str, capsys: pytest.CaptureFixture[str], iris: Path
) -> None:
    run = runner.open_run(iris)
    assert main(["rerun", str(iris), word, "--output", "new"]) == 2
    assert capsys.readouterr().err == f"error: {line.replace('ID', run.id)}\n"
    assert not Path("new").exists()


@pytest.fixture(scope="module")
def iris(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("iris") / "run"
    runner.run(*IRIS, f"hydra.run.dir={folder}")
    return folder


def test_all_problems_are_told_together(iris: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rerun", str(iris), "-m", "seed=1,2", "model.quantize=int9"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: seed: changes the weights, which are those of the run; leave it out"
    ]
    assert main(["rerun", str(iris), "-m", "model.dtype=x,float64", "model.quantize=int9"]) == 2
    said = capsys.readouterr().err
    assert "model.dtype: expected" in said
    assert "model.quantize: expected" in said
    assert said.count("int9") == 1


def test_the_run_may_be_left_out_and_options_stand_anywhere(iris: Path) -> None:
    made(*IRIS)
    assert main(["rerun", "model.dtype=float64", "--rtol", "0.1", "format=csv"]) == 0
    assert main(["rerun", str(iris), "--rtol", "0.1", "model.dtype=float64"]) == 0


@pytest.mark.slow
def test_variables_are_set_before_the_framework_is_imported(
    iris: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = runner.open_run(iris).record.backend
    assert before is not None
    other = str(int(not before.onednn))
    words = ["--env", f"TF_ENABLE_ONEDNN_OPTS={other}", "--output", "new"]
    assert main(["rerun", str(iris), *words]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"with --env TF_ENABLE_ONEDNN_OPTS={other}\n")
    assert f"backend.onednn: {before.onednn} | {not before.onednn}" in said
    backend = runner.open_run("new").record.backend
    assert backend is not None
    assert backend.onednn is not before.onednn
    assert "TF_ENABLE_ONEDNN_OPTS" not in os.environ


@pytest.mark.slow
def test_code_is_trusted_there_too() -> None:
    Path("trusted_nets.py").write_text(
        "import keras\n"
        "def build():\n"
        "    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name='a')])\n"
    )
    base = made("model=function", "model.function=trusted_nets:build", "probe=random")
    with pytest.raises(InputError, match=r"names Python code, .*: model.function"):
        base.rerun("model.quantize=int8")
    new = base.rerun("model.quantize=int8", env={"A": "b"}, trust_code=True)
    assert new.tensor("a/kernel", "weight").dtype == "int8"


@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_a_run_from_python_is_repeated_with_a_model(format: str) -> None:
    def model(units: int = 2) -> keras.Model:
        keras.utils.set_random_seed(1)
        layers = [keras.Input((3,), name="x"), keras.layers.Dense(units, name="a")]
        return keras.Sequential(layers)

    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    ids = ["p", "q", "r", "s", "t"]
    given = {"sample_ids": ids, "labels": [1, 1, 2, 2, 3], "targets": np.ones((5, 2), "float32")}
    base = runner.save_run(model(), x, "base", format=format, **given)
    with pytest.raises(
        InputError,
        match=r"was saved from Python: .*; give the model, in Python: run.rerun\(model=...\)$",
    ):
        base.rerun("backend=jax")
    other = model()
    quantize(other, "int8")
    new = base.rerun(model=other, path="new")
    assert list(new.samples) == ids
    assert new.labels is not None
    found = runner.diff(base, new, weights=False)
    assert found.first_beyond is not None
    assert found.first_beyond.tensor == "a"
    assert found.first_beyond.adds
    assert found.first_beyond.floor is not None
    assert "\na adds " in told(found)
    same = runner.diff(base, base.rerun(model=model(), path="same"), exact=True)
    assert same.same
    assert same.measured is not None
    assert same.measured.floor_by.startswith("the new model, with one bit of noise")
    assert 0 < (same.measured.layers["a"].floor or 0) < 1e-5
    with pytest.raises(InputError, match=r"^model: is what differs"):
        base.rerun("backend=jax", model=other)


NETS = """
import keras

class Late(keras.Model):
    def __init__(self):
        super().__init__()
        self.a = keras.layers.Dense(2)

    def call(self, x):
        return self.a(x)

def module():
    import torch
    return torch.nn.Linear(4, 2)
"""


@pytest.mark.parametrize(
    ("function", "line"),
    [
        ("Late", "the model makes its weights when it is first called, too late to be set; build"),
        ("module", "the model is no model of Keras, and its weights are its own; repeat the run"),
    ],
)
def test_a_model_whose_weights_cannot_be_set_is_told(function: str, line: str) -> None:
    if function == "module":
        pytest.importorskip("torch", reason="torch is not installed")
    Path("nets.py").write_text(NETS)
    words = ["probe=iris", "probe.rows=9"]
    base = made("model=function", f"model.function=nets:{function}", *words)
    assert runner.diff(base, base.rerun(trust_code=True)).same
    with pytest.raises(InputError, match=f"^run {base.id}: {line}"):
        base.rerun("capture.batch_size=3", trust_code=True)


_DONE = [sys.executable, "-m", "runner"]


@pytest.mark.parametrize(
    ("backend", "kept"),
    [
        pytest.param("jax", "activation,weight", marks=JAX),
        pytest.param("torch", "activation", marks=TORCH),
    ],
)
def test_another_backend_has_the_weights_of_the_run(backend: str, kept: str) -> None:
    base = made(*IRIS, f"capture.kinds=[{kept}]")
    command = [*_DONE, "rerun", "base", f"backend={backend}", "--output", "new"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert f"with backend={backend}" in done.stdout
    assert "no layer is beyond its floor" in done.stdout
    new = runner.open_run("new").record
    assert new.backend is not None
    assert new.backend.name == backend
    assert new.model == base.record.model


@pytest.mark.slow
@TORCH
def test_each_of_several_runs_is_made_on_torch_or_its_own_backend() -> None:
    made(*IRIS)
    words = ["rerun", "base", "-m", "backend=torch,null", "model.quantize=null,int8"]
    done = subprocess.run([*_DONE, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines()[-1].startswith("FAIL: 2 of 4 are equal to run ")
    assert done.stdout.count(" none ") == 1, done.stdout  # on that of the run


@JAX
def test_a_dtype_that_jax_lacks_is_told() -> None:
    made(*IRIS)
    command = [*_DONE, "rerun", "base", "backend=jax", "model.dtype=float64"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, (
        "error: model.dtype: jax computes in float32 instead of float64 in this process; set "
        "JAX_ENABLE_X64=1 in the environment\n"
    ))  # fmt: skip
    command += ["--env", "JAX_ENABLE_X64=1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
