"""Runs from Python: everything that comes out is published, or nothing is."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from tutorial import FIGURES

import runner
from runner.capture.capture import Capture
from runner.config.capture_config import CaptureConfig
from runner.errors import InputError
from runner.probe.batch import Batch
from runner.probe.probe_hash import BLOCK, ProbeHasher
from runner.showing.settings import Settings
from runner.showing.showing import Showing


@pytest.fixture(autouse=True)
def fresh_names() -> None:
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)


def small() -> keras.Model:
    x = keras.Input((6, 5, 2))
    h = layers.Conv2D(3, 3, activation="relu", name="conv")(x)
    h = layers.Flatten(name="flat")(layers.Dropout(0.5, name="drop")(h))
    return keras.Model(x, layers.Dense(4, name="out")(h))


def random(rows: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(rows, 6, 5, 2)).astype("float32")


def test_the_default_run_is_the_tutorial_to_the_digit() -> None:
    run = runner.run()
    for name in ("hidden/kernel", "hidden", "output"):
        np.testing.assert_allclose(run.array(name), FIGURES[name], rtol=0, atol=1e-7)
    assert run.targets.to_numpy().tolist() == [[0], [1], [1]]
    assert run.record.seeding == "tf_global"


def test_two_runs_of_one_configuration_are_bitwise_the_same() -> None:
    first, second = runner.run("experiment=digits_mlp"), runner.run("experiment=digits_mlp")
    assert first.id != second.id
    assert first.record.model.sha256 == second.record.model.sha256
    assert [tensor.sha256 for tensor in first.record.tensors] == [
        tensor.sha256 for tensor in second.record.tensors
    ]


@pytest.mark.parametrize("table_format", ["parquet", "csv", "arrow"])
def test_save_run_keeps_every_value_of_any_model(table_format: str) -> None:
    model, x = small(), random(70)
    ids = [f"s{row}" for row in range(70)]
    run = runner.save_run(
        model, x, "mine", sample_ids=ids, labels=["a", "b"] * 35, config={"seed": 3},
        batch_size=32, format=table_format,
    )  # fmt: skip
    truth = runner.capture_activations(model, x, batch_size=32)
    for name in ("conv", "drop", "flat", "out"):
        np.testing.assert_array_equal(run.array(name), truth[name].value)
    assert run["out"].index.tolist() == ids
    assert run.labels["s1"] == "b"
    assert run.seed == 3
    np.testing.assert_array_equal(
        run.weights("conv/kernel").to_numpy().reshape(3, 3, 2, 3),
        np.asarray(model.layers[1].kernel),
    )
    assert run.record.model.outputs == ("out",)
    assert run.tensor("drop").alias_of == "conv"


def test_hashes_and_sizes_are_those_of_the_files() -> None:
    run = runner.save_run(small(), random(10), "mine")
    files = {tensor.file: tensor for tensor in run.record.tensors} | run.record.files
    on_disk = {
        path.relative_to(run.path).as_posix(): path.read_bytes()
        for path in run.path.rglob("*")
        if path.is_file() and path.name != "run.json"
    }
    assert set(files) == set(on_disk)
    for name, data in on_disk.items():
        assert files[name].bytes == len(data)
        assert files[name].sha256 == hashlib.sha256(data).hexdigest()


def test_the_hash_of_a_probe_is_made_of_blocks_whatever_the_batches() -> None:
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1, name="out")])
    x = np.arange(2 * BLOCK + 5, dtype="float32")[:, None]
    runs = [runner.save_run(model, x, f"of-{size}", batch_size=size) for size in (480, 5000)]
    parts = []
    for start in range(0, len(x), 5000):  # a block begins in one part, and ends in the next
        part, end = ProbeHasher(row=start), min(start + 5000, len(x))
        part.update(Batch(np.arange(start, end), x[start:end]))
        if part.missing and end < len(x):
            rest = slice(end, end + part.missing)
            part.update(Batch(np.arange(len(x))[rest], x[rest]))
        parts.append(part.block_hashes)
    whole = ProbeHasher.of(parts)
    for run in runs:
        assert json.loads((run.path / "run.json").read_text())["probe"]["hash_block"] == BLOCK
        assert run.probe_record.sha256 == whole.content()
        assert run.probe_record.sample_ids_sha256 == whole.sample_ids()
        assert run.shown.has_inputs_of(run.probe_record)
    assert runner.diff(*runs).same


def test_the_summary_tells_what_the_tables_hold() -> None:
    run = runner.save_run(small(), random(50), "mine", batch_size=16)
    summary = run.summary.set_index(["kind", "name"])
    conv = run.array("conv")
    row = summary.loc["activation", "conv"]
    assert row["mean"] == pytest.approx(conv.mean(dtype="float64"))
    assert row["std"] == pytest.approx(conv.std(dtype="float64"))
    assert row["zeros"] == pytest.approx((conv == 0).mean())
    assert row["max"] == conv.max()
    assert set(summary.loc["weight"].index) == {
        "conv/kernel", "conv/bias", "out/kernel", "out/bias",
    }  # fmt: skip


def test_generators_and_several_inputs_are_shown_in_fixed_batches() -> None:
    a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b")
    model = keras.Model({"a": a, "b": b}, layers.Subtract(name="minus")([a, b]))
    x = np.arange(60, dtype="float32").reshape(20, 3)

    def batches() -> Iterator[Any]:
        for start, end in ((0, 7), (7, 8), (8, 20)):
            yield {"a": x[start:end], "b": x[start:end] * 2}

    run = runner.save_run(model, batches(), "mine", batch_size=4)
    np.testing.assert_array_equal(run.array("minus"), -x)
    assert run.record.probe.rows == 20


@pytest.mark.parametrize("rows", [1, 2, 3, 8, 9])
def test_padding_is_never_written(rows: int) -> None:
    model, x = small(), random(rows)
    run = runner.save_run(model, x, "mine", batch_size=8)
    assert run.array("out").shape == (rows, 4)
    whole = runner.capture_activations(model, random(9), batch_size=9)["out"].value[:rows]
    np.testing.assert_array_equal(run.array("out"), whole)


def test_an_error_in_the_middle_publishes_nothing_and_says_where() -> None:
    def batches() -> Iterator[np.ndarray]:
        yield random(4)
        raise OSError("the cable was pulled")

    threads = threading.active_count()
    with pytest.raises(OSError, match="the cable was pulled"):
        runner.save_run(small(), batches, "mine", batch_size=2)
    assert list(Path().iterdir()) == []
    assert threading.active_count() == threads


def test_a_file_system_that_takes_no_more_ends_the_run() -> None:
    program = (
        "import resource, runner, numpy as np, keras\n"
        "model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64, name='d')])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "batches = (np.ones((500, 64), 'float32') for _ in range(20))\n"
        "runner.save_run(model, batches, 'mine', batch_size=100)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert "activations/00_d.parquet: File too large; the run was not published" in done.stderr
    assert list(Path().iterdir()) == []


def test_a_run_that_fails_leaves_a_record_that_says_why() -> None:
    Path("broken.py").write_text(
        "import keras\n"
        "class Broken(keras.layers.Layer):\n"
        "    def call(self, inputs):\n"
        "        raise ValueError('nothing works here')\n"
        "    def compute_output_shape(self, shape):\n"
        "        return shape\n"
        "def build():\n"
        "    return keras.Sequential([keras.Input((3,)), Broken(name='b')])\n"
    )
    with pytest.raises(runner.RunError, match="nothing works here"):
        runner.run("model=function", "model.function=broken:build")
    run = runner.open_run("last")
    assert run.record.status == "FAILED"
    assert "nothing works here" in run.record.error
    assert "in sequential/b" in run.record.error
    assert sorted(path.name for path in run.path.iterdir()) == [".hydra", "run.json", "run.log"]
    assert "broken.py" in (run.path / "run.log").read_text()


def test_tables_that_would_be_too_large_are_refused_before_anything_is_written() -> None:
    message = (
        r"^capture.max_bytes: the tables of 3 samples take about 224 B, the limit is 100 B "
        r"\(largest: hidden 72 B, output 48 B, hidden/kernel 48 B\); "
        "narrow capture.include, set capture.reduce, or raise capture.max_bytes$"
    )
    with pytest.raises(runner.InputError, match=message):
        runner.run("capture.max_bytes=100")
    assert list(Path().rglob("run.json")) == []
    batches = (random(10) for _ in range(5))
    with pytest.raises(runner.InputError, match="the tables of 48 samples take about"):
        runner.save_run(small(), batches, "mine", max_bytes=8_000, batch_size=10)
    assert not Path("mine").exists()


def test_a_full_folder_is_refused() -> None:
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("keep me")
    with pytest.raises(runner.InputError, match="the output folder exists and is not empty"):
        runner.save_run(small(), random(3), "mine")
    assert Path("mine/notes.txt").read_text() == "keep me"


def test_selected_kinds_and_reductions_are_recorded() -> None:
    run = runner.save_run(
        small(), random(12), "mine",
        include=["conv", "class:Dense"], kinds=["activation", "pre_activation", "input"],
        reduce={"conv": "mean"}, dtype="float16",
    )  # fmt: skip
    conv = run.tensor("conv")
    assert (conv.reduction, conv.shape, conv.dtype) == ("mean", (3,), "float16")
    assert run.tensor("out", "pre_activation").alias_of == "out"
    reasons = {layer.path: layer.reason for layer in run.record.layers}
    assert reasons["flat"] == "left out by the selection"
    assert not any(tensor.kind == "weight" for tensor in run.record.tensors)


def test_a_stream_whose_samples_change_shape_is_refused() -> None:
    model = keras.Sequential([layers.Input((None, 2)), layers.GlobalAveragePooling1D()])
    batches = [np.ones((2, length, 2), "float32") for length in (3, 4)]
    with pytest.raises((runner.InputError, runner.RunError, ValueError)):
        runner.save_run(model, iter(batches), "mine", batch_size=2)
    assert not Path("mine").exists()


def test_the_record_is_plain_json() -> None:
    run = runner.save_run(small(), random(3), "mine", name="first")
    plain = json.loads((run.path / "run.json").read_text())
    assert plain["schema_version"] == 1
    assert plain["name"] == "first"
    assert [layer["path"] for layer in plain["layers"]][:4] == ["conv", "drop", "flat", "out"]
    assert plain["layers"][-1]["reason"] == "an input of the model: it is in the probe"


def test_showing_needs_no_folder() -> None:
    from runner.probe.memory_sources import as_probe

    showing = Showing(small(), as_probe(random(50)), Settings(CaptureConfig(batch_size=4)))
    assert isinstance(showing.capture, Capture)
    sizes = [(len(batch), arrays[0].shape[0]) for batch, arrays in showing]
    assert sizes == [(48, 48), (2, 2)]


def test_what_is_no_model_and_no_override_is_told_in_a_line() -> None:
    no_model = (
        r"^model: expected a keras.Model or a torch.nn.Module, found ndarray; "
        r"the first argument is"
    )
    with pytest.raises(InputError, match=no_model):
        runner.capture_activations(random(2), small())  # type: ignore[arg-type]
    with pytest.raises(InputError, match=no_model):
        runner.save_run(random(2), small(), "run")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"^overrides: expected texts, found \(\['seed=1'\],\)"):
        runner.run(["seed=1"])  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"^probe: expected arrays or batches, found str$"):
        runner.capture_activations(small(), "pictures.npy")
    narrow = keras.Sequential([layers.Input((4,)), layers.Dense(2, name="dense")], name="narrow")
    message = r"\(in narrow\): Input 0 .*dense.* is incompatible .* to have value 4, .*\)$"
    with pytest.raises(runner.RunError, match=message):
        runner.capture_activations(narrow, np.ones((8, 5)))


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"kinds": ["activatoin"]}, r"kinds\.0: expected one of .*; did you mean 'activation'\?"),
        ({"reduce": {"a": "meen"}}, r"reduce\.a: unknown reduction 'meen'; did you mean 'mean'\?"),
        ({"dtype": "flot16"}, "dtype: expected one of .*; did you mean 'float16'"),
        ({"batch_size": 0}, "batch_size: must be >= 1, found 0"),
        ({"name": "a/b"}, "name: 'a/b' cannot name a run"),
    ],
)
def test_what_python_is_given_is_checked_as_a_configuration_is(
    wrong: dict[str, Any], line: str
) -> None:
    with pytest.raises(InputError, match=f"^{line}"):
        runner.save_run(small(), random(4), "run", **wrong)
    assert not Path("run").exists()


def test_a_lone_pattern_or_kind_is_one() -> None:
    run = runner.save_run(small(), random(4), "run", kinds="weight")
    assert {tensor.kind for tensor in run.record.tensors} == {"weight"}
    with pytest.raises(InputError, match=r"kinds\.0: expected one of .*found 'activatoin'"):
        runner.capture_activations(small(), random(4), kind="activatoin")  # type: ignore[arg-type]


class Doubled(keras.Model):
    def call(self, x: Any) -> Any:
        return x * 2


@pytest.mark.parametrize("own", [False, True], ids=["functional", "subclassed"])
@pytest.mark.parametrize(
    "x",
    [
        np.full((2, 2), 1e300),
        [[1, 1e39], [0, 0]],
        [np.ones((1, 2)), np.full((1, 2), 1e39)].__iter__,
    ],
    ids=["array", "list", "batches"],
)
def test_a_number_of_an_array_does_not_become_infinite(x: Any, own: bool) -> None:
    model = Doubled() if own else keras.Sequential([keras.Input((2,)), keras.layers.ReLU()])
    with pytest.raises(InputError, match="it is too large for float32"):
        runner.save_run(model, x, "run")
    with pytest.raises(InputError, match="it is too large for float32"):
        runner.capture_activations(model, x)
    assert not Path("run").exists()


def test_complex_numbers_of_an_array_do_not_lose_their_imaginary_part() -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.ReLU()])
    with pytest.raises(
        InputError, match="given in Python has complex128, the model expects float3"
    ):
        runner.capture_activations(model, np.full((2, 2), 1j))
    infinite = runner.capture_activations(model, np.full((2, 2), np.inf))
    assert np.isinf(next(iter(infinite.values())).value).all()
