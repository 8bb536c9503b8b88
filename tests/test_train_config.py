"""What may be said of a training, and what is refused before anything is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import pytest

from runner.config import catalogue
from runner.config.callback_paths import (
    WORDS,
    WRITTEN,
    RunPath,
    field_problems,
    path_problems,
    written_by,
)
from runner.config.compose import compose_one
from runner.config.experiment_config import ExperimentConfig
from runner.config.model_config import NamedObject
from runner.config.train_config import figure_name
from runner.errors import InputError, RunError
from runner.sources.inline import InlineConfig


def composed(*overrides: str) -> ExperimentConfig:
    composition, _ = compose_one(["train=fit", *overrides], "0a1b2c3d")
    return composition.experiment


def problems(*overrides: str) -> str:
    with pytest.raises(InputError) as caught:
        composed(*overrides)
    return str(caught.value)


def test_nothing_is_trained_unless_asked_for() -> None:
    composition, _ = compose_one([], "0a1b2c3d")
    assert composition.experiment.train is None


def test_the_packaged_training_is_the_default_of_its_keys() -> None:
    train = composed().train
    assert train is not None
    assert train == type(train)()


def test_the_data_are_chosen_as_a_probe_is() -> None:
    train = composed(
        "train/data=inline", "train.data.inputs=[[1,2,3],[4,5,6]]", "train.data.targets=[0,1]"
    ).train
    assert train is not None
    assert isinstance(train.data, InlineConfig)
    assert train.data.targets == [0, 1]


def test_callbacks_are_classes_with_their_arguments() -> None:
    train = composed(
        "train.validation_split=0.2",
        "+train.callbacks.early={class_name: EarlyStopping, patience: 3, min_delta: 0.01}",
        "+train.callbacks.kept={class_name: ModelCheckpoint, filepath: best.keras, save_freq: 10}",
    ).train
    assert train is not None
    assert train.callbacks["early"].arguments == {"patience": 3, "min_delta": 0.01}
    assert train.callbacks["kept"].class_name == "ModelCheckpoint"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["train.epochs=0"], "train.epochs: must be >= 1, found 0"),
        (["train.epoch=3"], r"train.epoch: unknown key; did you mean 'epochs'?"),
        (["train.validation_split=1.0"], "train.validation_split: must be in [0, 1), found 1.0"),
        (["train.shuffle=3"], "train.shuffle: expected true or false, found 3"),
        (
            ["train.capture_at=[0, first, -1, true]"],
            "train.capture_at.1: expected an integer >= 0 or last, found 'first'\n"
            "train.capture_at.2: expected an integer >= 0 or last, found -1\n"
            "train.capture_at.3: expected an integer >= 0 or last, found true",
        ),
        (
            ["train.epochs=5", "train.capture_at=[0, 6]"],
            "train.capture_at.1: only 5 epochs are trained, found 6; raise train.epochs",
        ),
        (["train.every=0"], "train.every: must be >= 1, found 0"),
        (["train.unit=batch"], "train.unit: expected one of epoch, step, found 'batch'"),
        (["train.metrics=[acuracy]"], "did you mean 'accuracy'?"),
        (["train.metrics=[{class_name: AUC, treshold: 3}]"], "did you mean 'thresholds'?"),
        (["train.metrics=[3]"], "expected a metric's name, or a mapping that begins with"),
        (["train.metrics=[{class_name: Gone}]"], "Gone"),
        (
            ["train.metrics=[{class_name: AUC, name: epoch}]"],
            "train.metrics.0: the history has a column 'epoch' of its own; give the metric another "
            "name: name: my_epoch",
        ),
        (
            ["train.metrics=[accuracy, {class_name: AUC, name: loss}]"],
            "train.metrics.1: the history has a column 'loss' of its own",
        ),
        (
            ["+train.callbacks.a={class_name: EarlyStoping}"],
            "train.callbacks.a.class_name: unknown callback 'EarlyStoping'; "
            "did you mean 'EarlyStopping'?",
        ),
        (
            ["+train.callbacks.a={class_name: EarlyStopping, patence: 3}"],
            "EarlyStopping has no 'patence'; did you mean 'patience'?",
        ),
        (
            ["+train.callbacks.a={class_name: EarlyStopping, patience: -3}"],
            "train.callbacks.a.patience: must be >= 0, found -3",
        ),
        (
            ["+train.callbacks.a={class_name: LambdaCallback}"],
            "LambdaCallback takes Python code, which a configuration cannot hold; "
            "train in Python with runner.ActivationRecorder",
        ),
        (["+train.callbacks.a={class_name: RemoteMonitor}"], "unknown callback 'RemoteMonitor'"),
        (
            ["+train.callbacks.a={class_name: EarlyStopping}"],
            "train.callbacks.a.monitor: there is no val_loss without validation data; "
            "set train.validation_split=0.2, or monitor: loss",
        ),
        (
            [
                "+train.callbacks.a={class_name: ReduceLROnPlateau, monitor: acuracy}",
                "train.metrics=[accuracy]",
            ],
            "train.callbacks.a.monitor: there is no metric 'acuracy'; did you mean 'accuracy'?",
        ),
        (
            ["+train.callbacks.a={class_name: CSVLogger}"],
            "train.callbacks.a.filename: CSVLogger needs it, and it is not given",
        ),
        (
            ["+train.callbacks.a={class_name: ModelCheckpoint, filepath: 3}"],
            "train.callbacks.a.filepath: expected a path, found 3",
        ),
        (
            ["+train.callbacks.a={class_name: CSVLogger, filename: [a.csv]}"],
            "train.callbacks.a.filename: expected a path, found a list",
        ),
        (
            ["train.metrics=[{class_name: F1Score, name: [1, 2]}]"],
            "train.metrics.0.name: expected text, found a list",
        ),
        (
            [
                "+train.callbacks.a={class_name: ModelCheckpoint, filepath: a//x.keras}",
                "+train.callbacks.b={class_name: ModelCheckpoint, filepath: a/x.keras/y.keras}",
            ],
            "train.callbacks.b.filepath: 'a/x.keras' is a file, that of callbacks.a.filepath, "
            "no folder; rename one",
        ),
        (
            [
                "+train.callbacks.a={class_name: TensorBoard, log_dir: log.csv}",
                "+train.callbacks.b={class_name: CSVLogger, filename: ./log.csv}",
            ],
            "train.callbacks.a.log_dir: 'log.csv' is a file, that of callbacks.b.filename",
        ),
        (
            [
                "+train.callbacks.a={class_name: CSVLogger, filename: log.csv}",
                "+train.callbacks.b={class_name: CSVLogger, filename: log.csv}",
            ],
            "train.callbacks.b.filename: 'log.csv' is also the file of callbacks.a.filename",
        ),
        (["train/data=csv"], "train.data.path: required, and not given"),
        (["train.data={source: csvs}"], "train.data.source: expected one of tutorial, "),
        (
            ["train/data=csv", "train.data.path=a.csv", "+train.data.headr=false"],
            "train.data.headr: unknown key; did you mean 'header'?",
        ),
        (["~loss"], "loss: training needs one, and it is null; set loss=mse"),
        (["~optimizer"], "optimizer: training needs one, and it is null; set optimizer=adam"),
        (["loss.class_name=mes"], "unknown loss 'mes'; did you mean 'mse'?"),
        (["optimizer.learning_rate=-0.1"], "optimizer.learning_rate: must be > 0, found -0.1"),
    ],
)
def test_a_mistake_is_said_where_it_stands(overrides: list[str], message: str) -> None:
    assert message in problems(*overrides)


@pytest.mark.parametrize(
    "path",
    [
        "/best.keras", "../best.keras", "C:\\best.keras", "a/../../b", ".", "~/b.keras",
        "file:///etc/b.keras", "gs://bucket/b.keras", "a\0b.keras", "a\nb.keras", "..\\b.keras",
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    ("class_name", "key"),
    [
        ("ModelCheckpoint", "filepath"), ("CSVLogger", "filename"), ("TensorBoard", "log_dir"),
        ("TensorBoard", "embeddings_metadata"),
    ],
)  # fmt: skip
def test_a_callback_writes_into_the_run_alone(class_name: str, key: str, path: str) -> None:
    callback = NamedObject.model_validate({"class_name": class_name, key: path})
    said = [*path_problems(class_name, callback.arguments, "a")]
    assert [problem.place for problem in said] == [f"a.{key}"]
    assert "expected a path inside the run's folder" in said[0].message


def test_where_a_callback_writes_is_checked_with_all_else() -> None:
    said = problems(
        "+train.callbacks.a={class_name: ModelCheckpoint, filepath: '../best.keras'}",
        "+train.callbacks.b={class_name: TensorBoard, embeddings_metadata: {words: /etc/passwd}}",
        f"+train.callbacks.c={{class_name: CSVLogger, filename: {'x' * 300}.csv}}",
    ).splitlines()
    assert said == [
        "train.callbacks.a.filepath: expected a path inside the run's folder, found "
        "'../best.keras'; use a plain name, such as best.keras",
        "train.callbacks.b.embeddings_metadata.words: expected a path inside the run's folder, "
        "found '/etc/passwd'; use a plain name, such as best.keras",
        "train.callbacks.c.filename: expected a path of at most 1,024 bytes, 255 for each name, "
        "found 304; shorten it",
    ]


def fields(template: str, *, complete: bool = True) -> list[str]:
    numbers: dict[str, int | float] = {"epoch": 1, "loss": 0.5}
    return [str(found) for found in field_problems(template, numbers, "p", complete=complete)]


@pytest.mark.parametrize(
    ("template", "found"),
    [
        (".{epoch!s:.0}./x.keras", "found '{epoch!s:.0}'"),
        ("{epoch.__class__}.keras", "found '{epoch.__class__}'"),
        ("{epoch[0]}.keras", "found '{epoch[0]}'"),
        ("{0}.keras", "found '{0}'"),
        ("{}.keras", "found '{}'"),
        ("{epoch:{epoch}}.keras", "found '{epoch:{epoch}}'"),
        ("{epoch:c}./x.keras", "found '{epoch:c}'"),  # a dot in epoch 46
        ("{epoch:/>9}.keras", "found '{epoch:/>9}'"),
        ("{epoch:0999999999d}.keras", "found '{epoch:0999999999d}'"),
        ("{epoch.keras", "found an unmatched brace"),
        ("{los:.2f}.keras", "'los' is not known when the file is written; did you mean 'loss'"),
        ("{loss:d}.keras", "'{loss:d}' cannot be filled in: Unknown format code 'd'"),
    ],
)
def test_a_path_is_filled_in_with_plain_fields_alone(template: str, found: str) -> None:
    [said] = fields(template)
    assert found in said


def test_plain_fields_are_taken() -> None:
    assert fields("{epoch:02d}-{loss:.2f}/{{kept}}-{epoch}.keras") == []
    assert fields("{mine:.3e}.keras", complete=False) == []


@pytest.mark.parametrize(
    ("given", "there"),
    [
        ("save_freq: epoch", "epoch, loss, accuracy, learning_rate"),
        ("save_freq: 5", "epoch, batch, loss, accuracy, learning_rate"),
    ],
)
def test_the_figures_of_a_training_are_what_a_path_may_hold(given: str, there: str) -> None:
    said = problems(
        "train.metrics=[accuracy]",
        f"+train.callbacks.a={{class_name: ModelCheckpoint, filepath: '{{xyz}}.keras', {given}}}",
    )
    assert said.endswith(f"'xyz' is not known when the file is written; there are {there}")


def test_every_text_that_a_callback_takes_is_a_path_or_known_to_be_none() -> None:
    for name, signature in catalogue.load().signatures["callbacks"].items():
        texts = {key for key, default in signature.optional.items() if isinstance(default, str)}
        for key in texts | set(signature.required):
            assert key in WORDS or (name, key) in WRITTEN, (name, key)


def test_a_path_that_is_filled_in_stays_below_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "a{b}"
    folder.mkdir()
    path = RunPath(folder, "kept/{epoch}.keras")
    assert path.format(epoch=3) == str(folder / "kept/3.keras")
    with pytest.raises(RunError, match=r"would write to '\.\./3', outside the run's folder"):
        RunPath(folder, "{up}/{epoch}").format(up="..", epoch=3)
    with pytest.raises(RunError, match="outside the run's folder"):
        path.format(epoch="\n")
    (folder / "link").symlink_to(tmp_path)
    with pytest.raises(RunError, match="outside the run's folder"):
        RunPath(folder, "link/x.keras")


def test_a_callback_of_ones_own_says_by_its_signature_what_it_writes_to() -> None:
    class Notes(keras.callbacks.Callback):
        def __init__(self, path: Path, title: str = "") -> None: ...

    class Kept(keras.callbacks.ModelCheckpoint):
        pass

    assert written_by(Notes) == {"path": False}
    assert written_by(Kept) == {"filepath": True}
    assert written_by(keras.callbacks.BackupAndRestore) == {"backup_dir": False}
    assert written_by(keras.callbacks.EarlyStopping) == {}


@pytest.mark.parametrize("name", ["BackupAndRestore", "OrbaxCheckpoint", "RemoteMonitor"])
def test_modules_of_ones_own_open_no_class_that_is_withheld(name: str) -> None:
    said = problems("custom_modules=[json]", f"+train.callbacks.a={{class_name: {name}}}")
    assert f"unknown callback '{name}'" in said


@pytest.mark.parametrize("metric", ["accuracy", "mae", "{class_name: F1Score, name: f1}"])
def test_a_metric_may_be_watched_by_its_name(metric: str) -> None:
    name = "f1" if "f1" in metric else metric
    train = composed(
        f"train.metrics=[{metric}]",
        f"+train.callbacks.a={{class_name: EarlyStopping, monitor: {name}}}",
    ).train
    assert train is not None


def test_a_metric_is_called_as_keras_calls_it() -> None:
    needed: dict[str, Any] = {
        "num_classes": 2, "target_class_ids": [0], "recall": 0.5, "precision": 0.5,
        "sensitivity": 0.5, "specificity": 0.5,
    }  # fmt: skip
    keras.backend.clear_session()
    for name, signature in catalogue.load().signatures["metrics"].items():
        if hasattr(keras.metrics, name):  # not in every Keras
            arguments = {key: needed[key] for key in signature.required}
            metric = getattr(keras.metrics, name)(**arguments)
            assert figure_name(NamedObject(class_name=name)) == metric.name


@pytest.mark.parametrize("override", ["train.epochs=5", "train/data=csv"])
def test_without_a_training_its_keys_say_how_to_have_one(override: str) -> None:
    with pytest.raises(InputError, match="nothing is trained; add train=fit"):
        compose_one([override], "0a1b2c3d")


def test_a_key_below_null_is_said() -> None:
    with pytest.raises(InputError, match="name: is null, and has no keys; give it a value"):
        compose_one(["name.first=x"], "0a1b2c3d")
