"""The catalogue against the Keras that is installed, and what it says without it."""

from __future__ import annotations

import dataclasses
import inspect

import keras
import pytest

from runner.config import catalogue


@pytest.fixture(scope="module")
def generated() -> dict:
    return catalogue.generate()


def test_the_file_is_what_its_keras_generates(generated: dict) -> None:
    if keras.__version__ != catalogue.load().keras:
        pytest.skip(f"the catalogue is that of Keras {catalogue.load().keras}")
    assert catalogue.FILE.read_text(encoding="utf-8") == catalogue.text_of(generated)


def test_an_older_keras_offers_nothing_that_the_file_lacks(generated: dict) -> None:
    known = catalogue.load()
    if not known.complete:
        pytest.skip("this Keras is newer than the catalogue")
    for namespace, classes in generated["signatures"].items():
        assert classes.keys() | generated["aliases"][namespace].keys() <= {*known.names(namespace)}
        for name, arguments in classes.items():
            signature = known.signature(namespace, name)
            assert signature is not None
            assert {*arguments["required"], *arguments["optional"]} <= {*signature.names}, name
    assert {*generated["activations"]} <= {*known.activations}


def test_the_file_stays_small() -> None:
    assert catalogue.FILE.stat().st_size < 200_000


def test_an_argument_handed_to_a_base_class_is_known() -> None:
    layer = keras.layers.LSTM(2, zero_output_for_mask=True, trainable=False)
    assert layer.zero_output_for_mask
    lstm = catalogue.load().signature("layers", "LSTM")
    assert lstm is not None
    assert lstm.required == ("units",)
    assert {"zero_output_for_mask", "trainable", "dtype", "dropout"} <= {*lstm.names}
    assert "cell" not in lstm.names


def test_a_class_that_hands_nothing_on_takes_its_own_arguments_alone() -> None:
    dropout = catalogue.load().signature("layers", "SpatialDropout1D")
    assert dropout is not None
    assert {*dropout.names} == {"rate", "seed", "name", "dtype"}


@pytest.mark.parametrize(
    ("namespace", "name", "cls"),
    [
        ("losses", "mse", "MeanSquaredError"),
        ("losses", "sparse_categorical_crossentropy", "SparseCategoricalCrossentropy"),
        ("optimizers", "adam", "Adam"),
        ("layers", "AvgPool2D", "AveragePooling2D"),
        ("initializers", "zeros", "Zeros"),
        ("regularizers", "l1_l2", "L1L2"),
        ("layers", "Dense", "Dense"),
        ("layers", "Unheard", "Unheard"),
    ],
)
def test_a_short_name_stands_for_a_class(namespace: str, name: str, cls: str) -> None:
    assert catalogue.load().class_of(namespace, name) == cls


@pytest.mark.parametrize("namespace", ["losses", "optimizers", "initializers", "constraints"])
def test_every_class_of_an_alias_is_one_of_keras(namespace: str) -> None:
    module = getattr(keras, namespace)
    for alias, name in catalogue.load().aliases[namespace].items():
        if hasattr(module, name):  # not in every Keras
            assert inspect.isclass(getattr(module, name)), alias


@pytest.mark.parametrize(
    ("argument", "namespace"),
    [
        ("kernel_initializer", "initializers"),
        ("activity_regularizer", "regularizers"),
        ("bias_constraint", "constraints"),
        ("learning_rate", "optimizers.schedules"),
        ("inner_optimizer", "optimizers"),
        ("layer", "layers"),
        ("cells", "layers"),
    ],
)
def test_the_argument_tells_where_its_object_is_looked_up(argument: str, namespace: str) -> None:
    assert catalogue.namespace_of(argument) == namespace


@pytest.mark.parametrize(
    ("version", "complete"), [("3.6.0", True), ("3.15.99", True), ("3.99.0", False), ("4.0", False)]
)
def test_only_a_newer_keras_may_have_more_names(version: str, complete: bool) -> None:
    known = dataclasses.replace(catalogue.load(), keras="3.15.1")
    vars(known)["installed"] = version  # where the cached property keeps it
    assert known.complete is complete
