"""Changing what calls return during a pass: on each backend of Keras, with KERAS_BACKEND set."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from runner.capture.batches import Shown
from runner.capture.capture import Capture
from runner.capture.changing import Change, Changes, Output, Patched
from runner.capture.selection import Selection

ROWS = 48


@pytest.fixture(autouse=True)
def _seeded() -> None:
    keras.backend.clear_session()
    keras.utils.set_random_seed(1)


def network() -> keras.Model:
    inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(inputs)
    skip = layers.Flatten(name="flat")(x)
    x = layers.Dense(8, activation="tanh", name="hidden")(skip)
    x = layers.Dropout(0.5, name="drop")(x)  # returns its input
    shared = layers.Dense(8, name="shared")
    x = shared(shared(x))
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name="out")(x))


def pictures() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(ROWS, 6, 6, 2)).astype("float32")


def captured(
    model: Any, inputs: Any, changes: Changes | None = None, patches: Any = None, **given: Any
) -> dict[str, np.ndarray]:
    capture = Capture(model, Shown(inputs, given.pop("targets", None), patches), Selection(**given),
                      changes=changes)  # fmt: skip
    names = {spec.name: array for spec, array in zip(capture.tensors, capture.first, strict=True)}
    shown = Shown(inputs, patches=patches)
    if "gradient" not in (given.get("kinds") or ()):
        for again, array in zip(capture(shown), capture.first, strict=True):
            np.testing.assert_array_equal(again, array)  # also where a pass is repeated
    return names | {alias.name: names[spec.name] for alias, spec in capture.aliases}


def scaled(name: str) -> Change:
    return lambda tensor, patches, tensors: tensor * tensors.like(patches[name], tensor)


def set_where(tensor: Any, patches: Any, tensors: Any) -> Any:
    return tensors.ops.where(patches["which"], tensors.like(patches["value"], tensor), tensor)


CONV = Output("conv", 0, None)
HIDDEN = Output("hidden", 0, None)


def test_the_identity_is_bitwise_the_plain_pass() -> None:
    model, inputs = network(), pictures()
    one = np.ones((ROWS, 1, 1, 1), "float32")
    changes = Changes({CONV: scaled("one"), HIDDEN: scaled("two")})
    plain = captured(model, inputs)
    changed = captured(model, inputs, changes, {"one": one, "two": one[..., 0, 0]})
    assert [*changed] == [*plain]
    for name, values in plain.items():
        np.testing.assert_array_equal(changed[name], values, name)


def test_units_are_set_and_layers_before_stay_as_they_were() -> None:
    model, inputs = network(), pictures()
    which = np.zeros((ROWS, 8), bool)
    which[:, [0, 3]] = True
    patches = {"which": which, "value": np.zeros((ROWS, 1), "float32")}
    plain = captured(model, inputs)
    changed = captured(model, inputs, Changes({HIDDEN: set_where}), patches)
    np.testing.assert_array_equal(changed["conv"], plain["conv"])
    np.testing.assert_array_equal(changed["hidden"], np.where(which, 0, plain["hidden"]))
    np.testing.assert_array_equal(changed["drop"], changed["hidden"])
    by_hand = keras.Model(model.get_layer("drop").output, model.output)
    expected = by_hand.predict(changed["hidden"], batch_size=ROWS, verbose=0)
    np.testing.assert_allclose(changed["out"], expected, rtol=1e-5, atol=1e-7)
    assert not np.array_equal(changed["out"], plain["out"])


def test_one_call_of_several_is_patched_from_other_samples() -> None:
    model, inputs = network(), pictures()
    plain = captured(model, inputs)
    other = plain["shared@0"][::-1].copy()
    changes = Changes({Output("shared", 0, None): Patched("a/b@0:c")})
    changed = captured(model, inputs, changes, {"a/b@0:c": other})
    np.testing.assert_array_equal(changed["shared@0"], other)
    np.testing.assert_array_equal(changed["shared@1"], plain["shared@1"][::-1])
    np.testing.assert_array_equal(changed["hidden"], plain["hidden"])


def test_tensors_are_recorded_before_their_change() -> None:
    model, inputs = network(), pictures()
    plain = captured(model, inputs)
    references = {name: plain[name] * 2 for name in ("conv", "hidden")}
    changes = Changes({CONV: Patched("conv"), HIDDEN: Patched("hidden")}, recorded="before")
    own = captured(model, inputs, changes, references)
    np.testing.assert_array_equal(own["conv"], plain["conv"])
    np.testing.assert_array_equal(own["flat"], references["conv"].reshape(ROWS, -1))
    kernel, bias = model.get_layer("hidden").get_weights()
    expected = np.tanh(references["conv"].reshape(ROWS, -1) @ kernel + bias)
    np.testing.assert_allclose(own["hidden"], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(own["drop"], references["hidden"])


def test_gradients_are_those_of_the_changed_pass() -> None:
    model, inputs = network(), pictures()
    targets = np.eye(3, dtype="float32")[np.arange(ROWS) % 3]
    model.compile(loss="categorical_crossentropy")
    kinds = frozenset(("activation", "gradient"))
    which = np.zeros((ROWS, 8), bool)
    which[:, 2] = True
    patches = {"which": which, "value": np.full((ROWS, 1), 0.5, "float32")}

    def found(kinds: frozenset[Any]) -> dict[tuple[str, str], np.ndarray]:
        changes = Changes({HIDDEN: set_where})
        capture = Capture(
            model, Shown(inputs, targets, patches), Selection(kinds=kinds), changes=changes
        )
        tensors = zip(capture.tensors, capture.first, strict=True)
        return {(spec.kind, spec.name): array for spec, array in tensors}

    with_gradients = found(kinds)
    without = found(frozenset(("activation",)))
    for key, values in without.items():
        np.testing.assert_array_equal(with_gradients[key], values, str(key))
    # What was set does not depend on the layers before: unit 2 passes no gradient back.
    kernel = model.get_layer("hidden").get_weights()[0]
    slope = with_gradients["gradient", "hidden"] * (1 - without["activation", "hidden"] ** 2)
    slope[:, 2] = 0
    expected = slope @ kernel.T
    found_below = with_gradients["gradient", "flat"]
    np.testing.assert_allclose(found_below, expected, rtol=1e-4, atol=1e-6)
