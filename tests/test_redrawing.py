"""Weights drawn again are those that building the model with that seed gives, to the bit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest

from runner.config.parsing import parse
from runner.model.building import build_model
from runner.model.keras_internals import watching_new_variables
from runner.model.redrawing import RedrawnModel
from runner.model.seeding import WAYS
from runner.patching import patched

INITIALIZERS = (
    "GlorotUniform", "GlorotNormal", "HeNormal", "HeUniform", "LecunNormal", "LecunUniform",
    "Orthogonal", "RandomNormal", "RandomUniform", "TruncatedNormal", "VarianceScaling",
    {"class_name": "RandomNormal", "stddev": 2.0, "seed": 11}, "Ones",
)  # fmt: skip

RANDOM_LAYERS = {
    "dropout": {"class_name": "Dropout", "rate": 0.5},
    "noise": {"class_name": "GaussianNoise", "stddev": 1.0},
    "alpha": {"class_name": "AlphaDropout", "rate": 0.2, "seed": 5},
    "lstm": {"class_name": "LSTM", "units": 3, "dropout": 0.2, "recurrent_dropout": 0.1},
}


def experiment(layers: dict[str, Any], shape: list[int], seeding: str, seed: int) -> Any:
    model = {"input_shape": shape, "seeding": seeding, "layers": layers}
    return parse({"seed": seed, "model": model, "probe": {"source": "tutorial"}})


@pytest.mark.parametrize("seeding", ["keras", "tf_global"])
def test_every_initializer(seeding: str) -> None:
    layers = {
        f"{each}{number}": {"class_name": "Dense", "units": 4, "kernel_initializer": initializer}
        for number, initializer in enumerate(INITIALIZERS)
        for each in "ab"
    }
    redrawn = RedrawnModel(experiment(layers, [5], seeding, 0))
    for seed in (0, 1, 4294967295):
        redrawn.redraw(seed)
        assert redrawn.difference(build_model(experiment(layers, [5], seeding, seed))) is None


@pytest.mark.parametrize("seeding", ["keras", "tf_global"])
def test_random_streams_of_layers(seeding: str) -> None:
    layers = {**RANDOM_LAYERS, "out": {"class_name": "Dense", "units": 2}}
    redrawn = RedrawnModel(experiment(layers, [6, 4], seeding, 3))
    for seed in (3, 8):
        redrawn.redraw(seed)
        assert redrawn.difference(build_model(experiment(layers, [6, 4], seeding, seed))) is None


def test_a_seeding_that_cannot_be_traced_is_given_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    scheme = WAYS["tf_global"]

    def drawing(pair_for: Any) -> Any:
        # int() refuses the tensors of a traced function.
        return scheme.drawing(lambda given: tuple(int(part) for part in pair_for(given)))

    monkeypatch.setitem(WAYS, "tf_global", replace(scheme, drawing=drawing, traceable=False))
    layers = {"a": {"class_name": "Dense", "units": 4}}
    redrawn = RedrawnModel(experiment(layers, [5], "tf_global", 0))
    redrawn.redraw(1)
    assert redrawn.difference(build_model(experiment(layers, [5], "tf_global", 1))) is None


def test_a_difference_is_named_by_its_variable() -> None:
    layers = {"a": {"class_name": "Dense", "units": 4}}
    redrawn = RedrawnModel(experiment(layers, [5], "keras", 0))
    other = build_model(experiment(layers, [5], "keras", 1))
    assert redrawn.difference(other) == "a/kernel"
    redrawn.redraw(1)
    assert redrawn.difference(other) is None
    bias = np.zeros(4, "float32")
    bias[1] = -0.0  # equal, but not the same bits
    other.get_layer("a").bias.assign(bias)
    assert redrawn.difference(other) == "a/bias"


@pytest.mark.parametrize("owner", keras.Variable.__mro__[:2], ids=lambda kind: kind.__name__)
def test_watching_leaves_no_trace(owner: type) -> None:
    before = dict(vars(owner))
    with watching_new_variables(lambda *_: None):
        RedrawnModel(experiment({"a": {"class_name": "Dense", "units": 4}}, [5], "keras", 0))
    assert dict(vars(owner)) == before  # an inherited constructor is not assigned


def test_a_patch_leaves_inherited_attributes_inherited() -> None:
    class Base:
        value = 1

    class Derived(Base):
        pass

    with patched(Derived, value=2), patched(Base, value=3):
        assert (Derived.value, Base.value) == (2, 3)
    assert (Derived.value, "value" in vars(Derived), Base.value) == (1, False, 1)
