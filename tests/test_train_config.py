"""What may be said of a training, and what is refused before anything is built."""

from __future__ import annotations

from typing import Any

import keras
import pytest

from runner.config import catalogue
from runner.config.compose import compose_one
from runner.config.experiment_config import ExperimentConfig, InlineConfig, NamedObject
from runner.config.train_config import figure_name
from runner.errors import InputError


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
            "train.capture_at.1: expected a whole number >= 0 or last, found 'first'\n"
            "train.capture_at.2: expected a whole number >= 0 or last, found -1\n"
            "train.capture_at.3: expected a whole number >= 0 or last, found true",
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
            "train.callbacks.a.monitor: there is no val_loss without data to validate on; "
            "set train.validation_split=0.2, or monitor: loss",
        ),
        (
            [
                "+train.callbacks.a={class_name: ReduceLROnPlateau, monitor: acuracy}",
                "train.metrics=[accuracy]",
            ],
            "train.callbacks.a.monitor: nothing is called 'acuracy'; did you mean 'accuracy'?",
        ),
        (
            ["+train.callbacks.a={class_name: CSVLogger}"],
            "train.callbacks.a.filename: CSVLogger needs it, and it is not given",
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
    "path", ["/best.keras", "../best.keras", "C:\\best.keras", "a/../../b", "."]
)
@pytest.mark.parametrize(
    ("class_name", "key"),
    [("ModelCheckpoint", "filepath"), ("CSVLogger", "filename"), ("TensorBoard", "log_dir")],
)
def test_a_callback_writes_into_the_run_alone(class_name: str, key: str, path: str) -> None:
    said = problems(f"+train.callbacks.a={{class_name: {class_name}, {key}: '{path}'}}")
    assert f"train.callbacks.a.{key}: expected a path inside the run's folder" in said


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
