"""Training a configured model: what is published of it, and that it is the same every time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

import runner
from runner.command_line.entry import main
from runner.config.compose import compose_one
from runner.errors import InputError, RunError
from runner.experiment.experiment import run_experiment
from runner.measures.cka import CKA as linear_cka
from runner.training.schedule import Schedule

ROOT = Path(__file__).parent.parent

# A dropout, a batch normalization and shuffled samples: all that a seed has to cover.
SMALL = """
input_shape: [4]
layers:
  a: {class_name: Dense, units: 8, activation: relu}
  norm: {class_name: BatchNormalization}
  drop: {class_name: Dropout, rate: 0.5}
  out: {class_name: Dense, units: 3, activation: softmax}
"""
TWO_OUTPUTS = """
input_shape: [3]
outputs: [a, b]
layers:
  a: {class_name: Dense, units: 1}
  b: {class_name: Dense, units: 1}
"""
# Presses Ctrl-C in the third epoch.
STOPPING = """
import signal
import keras

@keras.saving.register_keras_serializable()
class Stopping(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            signal.raise_signal(signal.SIGINT)

    def get_config(self):
        return {}
"""


@pytest.fixture(autouse=True)
def _own_configs() -> None:
    Path("mine/model").mkdir(parents=True)
    Path("mine/model/small.yaml").write_text(SMALL)
    Path("mine/model/two_outputs.yaml").write_text(TWO_OUTPUTS)
    Path("stopping.py").write_text(STOPPING)


def small(*overrides: str) -> list[str]:
    return ["--config-dir", "mine", *iris("model=small", *overrides)]


def iris(*overrides: str) -> list[str]:
    return ["experiment=iris_mlp", "train=fit", "train.epochs=3", *overrides]


def run_of(folder: str, *overrides: str, run_id: str = "0a1b2c3d") -> runner.Run:
    composition, _ = compose_one(list(overrides), run_id)
    return runner.open_run(run_experiment(composition, Path(folder), run_id=run_id))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> runner.Run:
    """One training with everything that is written on the way."""
    return run_of(
        str(tmp_path_factory.mktemp("trained") / "run"),
        *iris("train.metrics=[accuracy]", "train.validation_split=0.2", "train.epochs=4"),
        "train.capture_at=[0,1,last]",
        "train.save_model=true",
        "+train.callbacks.kept={class_name: ModelCheckpoint, filepath: 'kept/{epoch}.keras'}",
        "+train.callbacks.log={class_name: CSVLogger, filename: logs/log.csv}",
    )


def test_the_history_is_in_the_record_and_in_a_table(trained: runner.Run) -> None:
    history = trained.history
    assert history.index.tolist() == [1, 2, 3, 4]
    assert set(history.columns) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    training = trained.record.training
    assert training is not None
    assert {name: list(values) for name, values in training.history.items()} == history.to_dict(
        "list"
    )
    assert (training.epochs, training.rows) == (4, 150)
    assert training.data == "iris (scikit-learn)"
    assert history["loss"].is_monotonic_decreasing


def test_the_tables_of_each_checkpoint_are_in_its_folder(trained: runner.Run) -> None:
    assert trained.steps == [0, 1, 4]
    assert [step.epoch for step in trained.record.steps] == [0, 1, 4]
    for step in trained.record.steps:
        files = {
            path.relative_to(trained.path / step.folder).as_posix()
            for path in (trained.path / step.folder).rglob("*")
            if path.is_file()
        }
        assert files == set(step.files)
    assert len({step.sha256 for step in trained.record.steps}) == 3
    assert trained.record.model is not None
    assert trained.record.model.sha256 == trained.record.steps[-1].sha256


def test_a_layer_is_read_at_one_step_or_over_all(trained: runner.Run) -> None:
    name = "hidden"
    last = trained[name]
    pd.testing.assert_frame_equal(trained.table(name, step=4), last)
    whole = trained.table(name, step="all")
    assert whole.index.names == ["step", "sample"]
    assert whole.index.get_level_values("step").unique().tolist() == [0, 1, 4]
    pd.testing.assert_frame_equal(whole.loc[4], last)
    assert not np.array_equal(whole.loc[0], last)
    assert whole.dtypes.unique().tolist() == [np.float32]
    np.testing.assert_array_equal(
        trained.array(name, step="all").reshape(whole.shape), whole.to_numpy()
    )
    assert trained.weights(f"{name}/kernel", step="all").index.names == ["step", "i0"]
    summary = trained.step_summary
    assert summary[summary["name"] == name]["step"].tolist() == [0, 1, 4]
    assert summary[summary["step"] == 4]["mean"].tolist() == trained.summary["mean"].tolist()


def test_a_step_that_was_not_captured_is_said(trained: runner.Run) -> None:
    with pytest.raises(InputError, match="has no step 3; there are 0, 1, 4"):
        trained.table(next(iter(trained)), step=3)


def test_every_file_of_the_run_is_recorded(trained: runner.Run) -> None:
    record = trained.record
    known = {"run.json", *record.files, *(tensor.file for tensor in record.tensors)}
    known |= {f"{step.folder}/{name}" for step in record.steps for name in step.files}
    there = {
        path.relative_to(trained.path).as_posix()
        for path in trained.path.rglob("*")
        if path.is_file()
    }
    assert there == known
    assert {"callbacks/kept/4.keras", "callbacks/logs/log.csv", "model.keras"} <= there


def test_the_saved_model_is_the_one_that_the_tables_show(trained: runner.Run) -> None:
    model = keras.saving.load_model(trained.path / "model.keras")
    name = list(trained)[-1]
    x = trained.probe.filter(regex=r"^input\d").to_numpy("float32")
    np.testing.assert_allclose(model.predict(x, verbose=0), trained[name], rtol=1e-5, atol=1e-6)


def test_a_training_without_checkpoints_captures_the_trained_model_alone() -> None:
    run = run_of("run", *iris())
    assert run.steps == []
    assert (run.path / "activations").is_dir()
    assert not (run.path / "steps").exists()
    assert not (run.path / "callbacks").exists()
    assert len(run.history) == 3
    untrained = run_of("untrained", "experiment=iris_mlp")
    assert run.record.model != untrained.record.model
    assert untrained.record.training is None
    with pytest.raises(InputError, match="holds no history"):
        _ = untrained.history
    with pytest.raises(InputError, match=r"has no step 'all'; there are none"):
        run.table(next(iter(run)), step="all")


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bits_in_another_process() -> None:
    arguments = small("train.every=1", "train.batch_size=16")
    np.random.default_rng(1)
    keras.random.normal((3,))  # what this process did before makes no difference
    here = run_of("here", *arguments)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-m", "runner", *arguments, "hydra.run.dir=there"]
    subprocess.run(words, env=environment, check=True, capture_output=True)
    there = runner.open_run("there")
    assert [step.sha256 for step in here.record.steps] == [
        step.sha256 for step in there.record.steps
    ]
    pd.testing.assert_frame_equal(here.history, there.history)
    other = run_of("other", *arguments, "seed=1")
    assert other.record.steps[-1].sha256 != here.record.steps[-1].sha256


def test_capturing_on_the_way_leaves_the_training_as_it_is() -> None:
    plain = run_of("plain", *small())
    captured = run_of("captured", *small("train.every=1", "train.unit=step"))
    assert plain.record.model == captured.record.model
    pd.testing.assert_frame_equal(plain.history, captured.history)
    assert captured.steps == list(range(16))


def test_a_checkpoint_is_what_a_shorter_training_ends_with() -> None:
    long = run_of("long", *small("train.every=1"))
    short = run_of("short", *small("train.epochs=2"))
    name = next(iter(long))
    pd.testing.assert_frame_equal(long.table(name, step=2), short[name])


def test_steps_can_be_counted_in_batches() -> None:
    run = run_of("run", *iris("train.batch_size=50", "train.every=4", "train.unit=step"))
    assert run.steps == [0, 4, 8, 9]
    assert [step.epoch for step in run.record.steps] == [0, 1, 2, 3]


def test_the_last_step_is_the_model_that_the_callbacks_leave() -> None:
    stop = (
        "+train.callbacks.stop={class_name: EarlyStopping, monitor: loss, mode: max, "
        "patience: 2, restore_best_weights: true}"
    )
    run = run_of("run", *iris("train.epochs=9", "train.every=1", "train.save_model=true", stop))
    assert run.steps == [0, 1, 2, 3]
    steps = run.record.steps
    assert steps[3].sha256 == steps[1].sha256  # the best, since its loss was the largest
    assert steps[2].sha256 != steps[1].sha256


def test_a_sweep_over_seeds_is_one_table_over_runs_and_steps() -> None:
    for seed in (0, 1):
        run_of(
            f"runs/{seed}", *iris("train.capture_at=[0,last]", f"seed={seed}"), run_id=f"{seed:08x}"
        )
    runs = runner.open_runs("runs")
    name = next(iter(runs[0]))
    table = runs.table(name, step="all")
    assert table.index.names == ["seed", "step", "sample"]
    assert len(table) == 2 * 2 * 150
    pd.testing.assert_frame_equal(table.loc[(1, 3)], runs[1][name])
    assert runs.table(name).index.names == ["seed", "sample"]
    assert runs.frame["loss"].tolist() == [run.history["loss"].iloc[-1] for run in runs]
    assert runs.table(name, step=0).shape == runs.table(name).shape


def test_a_sweep_is_compared_at_a_step(capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (0, 1):
        words = iris("train.capture_at=[0,last]", f"seed={seed}")
        run_of(f"outputs/s/{seed}", *words, run_id=f"0a1b2c3d-{seed}")
    runs = runner.open_runs("outputs/s")
    first, last = runs.similarity(step=0), runs.similarity(step=3)
    pd.testing.assert_frame_equal(runs.similarity(), last)
    names = runs[0].layer_outputs
    assert first["layer_a"].tolist() == last["layer_a"].tolist() == names
    for step, frame in ((0, first), (3, last)):
        arrays = [[run.array(name, step=step) for run in runs] for name in names]
        assert frame["value"].tolist() == pytest.approx([linear_cka(*two) for two in arrays])
    assert first["value"].tolist() != last["value"].tolist()
    wrong: Any
    for wrong in (2, "all"):
        with pytest.raises(InputError, match=f"has no step {wrong!r}; there are 0, 3"):
            runs.similarity(step=wrong)
    words = ["similarity", "outputs/s", "--layers", "hidden", "--step"]
    value = first["value"][names.index("hidden")]
    assert main([*words, "0"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("cka, 150 samples, step 0\n")
    assert f"{value:.3f}" in out
    assert main([*words, "last"]) == 0
    assert "cka, 150 samples\n" in capsys.readouterr().out
    assert main([*words, "2"]) == 2
    assert "has no step 2; there are 0, 3" in capsys.readouterr().err
    assert main([*words, "first"]) == 2
    assert "expected a step's number or last, found 'first'" in capsys.readouterr().err


def test_other_data_can_be_trained_on() -> None:
    Path("data.csv").write_text("a,b,c,d,label\n5,3,1,0,0\n7,3,4,1,1\n6,3,6,2,2\n")
    run = run_of("run", *iris("train/data=csv", "train.data.path=data.csv"))
    training = run.record.training
    assert training is not None
    assert (training.data, training.rows) == ("csv data.csv", 3)
    assert run.record.probe is not None
    assert run.record.probe.rows == 150


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["train=fit"],
            "loss: MeanSquaredError cannot compare targets of 1 with an output of 2 values a "
            "sample; loss=sparse_categorical_crossentropy takes the number of a class",
        ),
        (
            iris("train/data=inline", "train.data.inputs=[[1,2,3,4]]", "train.data.labels=[3]"),
            "train.data: inline: counted from 0, row 0: label 3 is not one of the output's "
            "3 classes, 0 to 2",
        ),
        (
            iris("train/data=inline", "train.data.inputs=[[1,2,3,4]]", "train.data.labels=[a]"),
            "train.data: inline has labels that are text, SparseCategoricalCrossentropy takes "
            "numbers; number the classes from 0",
        ),
        (
            iris("train/data=inline", "train.data.inputs=[[1,2,3,4]]", "train.data.targets=[0.7]"),
            "label 0.7 is not one of the output's 3 classes",
        ),
        (
            iris(
                "train/data=inline",
                "train.data.inputs=[[1,2,3,4]]",
                "train.data.targets=[[0,0,1]]",
            ),
            "loss: SparseCategoricalCrossentropy cannot compare targets of 3 with an output of 3 "
            "values a sample; loss=categorical_crossentropy takes a value for each class",
        ),
        (
            iris("train/data=inline", "train.data.inputs=[[1,2,3,4]]"),
            "train.data: inline has neither targets nor labels for SparseCategoricalCrossentropy",
        ),
        (
            iris("train/data=inline", "train.data.inputs=[[1,2,3]]", "train.data.targets=[1]"),
            "train.data: inline has 3 values a sample, the model expects 4",
        ),
        (
            iris("train/data=csv", "train.data.path=missing.csv"),
            "train.data.path: no file 'missing.csv'",
        ),
        (
            iris(
                "train.validation_split=0.9",
                "train/data=inline",
                "train.data.inputs=[[1,2,3,4]]",
                "train.data.targets=[1]",
            ),
            "train.validation_split: 0.9 leaves none of 1 samples to train on",
        ),
        (
            iris("train.unit=step", "train.capture_at=[0, 16]"),
            "train.capture_at.1: 3 epochs of 5 batches are 15 steps, found 16; raise train.epochs",
        ),
        (
            iris("train.every=1", "capture.max_bytes=30000"),
            "capture.max_bytes: the tables of 150 samples at 4 steps take about",
        ),
        (
            iris("+train.callbacks.a={class_name: ModelCheckpoint, filepath: best.h6}"),
            "train.callbacks.a: ModelCheckpoint cannot be created: The filepath provided must ",
        ),
        (iris("capture.include=[hiden]"), "capture.include: 'hiden' matches no layer"),
    ],
)
def test_what_does_not_fit_is_said_before_the_first_step(
    overrides: list[str], message: str
) -> None:
    with pytest.raises(InputError) as caught:
        run_of("run", *overrides)
    assert message in str(caught.value)
    assert not Path("run").exists()


def test_a_model_of_several_outputs_is_not_trained() -> None:
    words = ["--config-dir", "mine", "model=two_outputs", "train=fit"]
    with pytest.raises(InputError, match=r"model: a loss compares one output .* this model has 2"):
        run_of("run", *words)


def test_a_training_that_fails_publishes_the_record_of_its_failure() -> None:
    stop = "+train.callbacks.nan={class_name: TerminateOnNaN, raise_error: true}"
    if "raise_error" not in keras.callbacks.TerminateOnNaN.__init__.__code__.co_varnames:
        pytest.skip("this Keras cannot be told to fail")
    with pytest.raises(RunError, match="NaN"):
        run_of("run", *iris("optimizer.learning_rate=1e38", stop))
    assert {path.name for path in Path("run").iterdir()} == {".hydra", "run.json", "run.log"}
    assert runner.open_run("run").record.status == "FAILED"


def test_a_figure_that_is_no_number_is_null_in_the_record() -> None:
    run = run_of("run", *iris("optimizer.learning_rate=1e38"))
    assert np.isnan(run.history["loss"].iloc[-1])
    text = (run.path / "run.json").read_text()
    assert (
        json.loads(text, parse_constant=lambda word: pytest.fail(word))["training"]["history"][
            "loss"
        ][-1]
        is None
    )


def interrupted(*overrides: str) -> KeyboardInterrupt:
    stop = ["custom_modules=[stopping]", "+train.callbacks.stop={class_name: Stopping}"]
    with pytest.raises(KeyboardInterrupt) as caught:
        run_of("run", *iris("train.epochs=5", *stop, *overrides))
    assert not [path for path in Path().iterdir() if path.name.startswith(".run")]
    return caught.value


def test_an_interrupted_training_publishes_nothing() -> None:
    interrupted("train.every=1")
    assert not Path("run").exists()


def test_an_interrupted_training_is_kept_where_that_was_asked_for() -> None:
    said = interrupted("train.every=1", "train.keep_partial=true")
    assert f"the partial run is in {Path('run').resolve()}" in str(said)
    run = runner.open_run("run")
    assert run.record.status == "INTERRUPTED"
    assert run.steps == [0, 1, 2]
    assert len(run.history) == 2


def test_an_interrupted_training_without_checkpoints_keeps_the_model_as_it_was() -> None:
    interrupted("train.keep_partial=true", "train.save_model=true")
    run = runner.open_run("run")
    assert run.record.status == "INTERRUPTED"
    shorter = run_of("shorter", *iris("train.epochs=2"))
    assert run.record.model == shorter.record.model


def test_a_schedule_counts_how_often_it_is_due() -> None:
    assert Schedule([0, 1, 5, "last"]).times(20) == 4
    assert Schedule(every=5).times(20) == 5
    assert Schedule([3], every=5).times(11) == 5
    assert Schedule().times(20) == 1
    assert Schedule([20, "last"]).times(20) == 1
    with pytest.raises(InputError, match="every: must be >= 1, found 0"):
        Schedule(every=0)
    with pytest.raises(InputError, match=r"^capture_at\.0: expected an integer >= 0 or last"):
        Schedule(["end"])
    with pytest.raises(InputError, match=r"^capture_at\.1: expected an integer .*, found true$"):
        Schedule([0, True])
    with pytest.raises(InputError, match="unit: expected one of epoch, step, found 'batch'"):
        Schedule(unit="batch")  # type: ignore[arg-type]


def test_a_dry_run_counts_the_steps(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["experiment=iris_mlp", "train=fit", "train.epochs=4", "dry_run=true"]
    assert main([*words, "train.every=2"]) == 0
    assert "tables, about 38.7 kB for 150 samples at 3 steps as" in capsys.readouterr().out
    assert main([*words, "train.unit=step", "train.capture_at=[21]"]) == 2
    said = "train.capture_at.0: 4 epochs of 5 batches are 20 steps, found 21; raise train.epochs"
    assert said in capsys.readouterr().err
    assert not Path("outputs").exists()


# A path by its signature, and a link in its place if asked for.
NOTES = """
import os
from pathlib import Path
import keras

@keras.saving.register_keras_serializable()
class Notes(keras.callbacks.Callback):
    def __init__(self, path: Path, link: bool = False) -> None:
        super().__init__()
        self.path, self.link = path, link

    def on_train_end(self, logs=None):
        if self.link:
            os.symlink("/etc/hostname", self.path)
        else:
            Path(self.path).write_text("kept")

    def get_config(self):
        return {}
"""


def with_notes(link: str) -> list[str]:
    Path("notes.py").write_text(NOTES)
    notes = f"+train.callbacks.n={{class_name: Notes, path: note.txt, link: {link}}}"
    return iris("custom_modules=[notes]", notes)


def test_a_callback_of_ones_own_writes_into_the_run() -> None:
    run = run_of("run", *with_notes("false"))
    assert (run.path / "callbacks/note.txt").read_text() == "kept"
    assert "callbacks/note.txt" in run.record.files
    assert not Path("note.txt").exists()


KEPT = """
import keras

@keras.saving.register_keras_serializable()
class Kept(keras.callbacks.ModelCheckpoint):
    def get_config(self):
        return {}
"""


def test_a_checkpoint_of_ones_own_has_plain_fields_too() -> None:
    Path("kept.py").write_text(KEPT)
    kept = "+train.callbacks.k={class_name: Kept, filepath: '{epoch!s:.0}.keras'}"
    with pytest.raises(InputError, match=r"^train.callbacks.k.filepath: expected fields such as "):
        run_of("run", *iris("custom_modules=[kept]", kept))
    assert not Path("run").exists()


def test_a_callback_that_fails_names_its_file_by_the_path_in_the_run() -> None:
    callbacks = (
        "+train.callbacks.a={class_name: ModelCheckpoint, filepath: 1.keras}",
        "+train.callbacks.b={class_name: ModelCheckpoint, filepath: '{epoch}.keras/x.keras'}",
    )
    with pytest.raises(RunError, match=r"^a callback failed: [^/]*1\.keras") as caught:
        run_of("run", *iris(*callbacks))
    assert "staging" not in str(caught.value)
    with pytest.raises(InputError, match=r"Received: filepath=best\.h6$"):
        run_of("b", *iris("+train.callbacks.a={class_name: ModelCheckpoint, filepath: best.h6}"))


def test_no_link_gets_into_a_run() -> None:
    with pytest.raises(RunError, match=r"callbacks/note.txt is a link, which a run does not hold"):
        run_of("run", *with_notes("true"))
    assert not Path("run/callbacks").exists()
