"""Every layer of Keras's own applications equals a model of many outputs, bit by bit."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from runner.capture.capture import Capture
from runner.engines.tensorflow.tracing import exact as unfused

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("MobileNetV2", 48),
        ("ResNet50", 48),
        ("EfficientNetB0", 48),
        ("VGG16", 32),
        ("DenseNet121", 48),
        ("ConvNeXtTiny", 48),
    ],
)
def test_every_layer_of_an_application(name: str, size: int) -> None:
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    model = getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classes=10)
    x = np.random.default_rng(0).uniform(0, 255, (2, size, size, 3)).astype("float32")
    before = [np.array(variable.value) for variable in model.variables]
    classes = keras.Layer.__call__, keras.Operation.__call__
    capture = Capture(model, x)
    assert capture.eager_because is None
    assert (keras.Layer.__call__, keras.Operation.__call__) == classes
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(np.array(variable.value), value)

    nodes = [node for node in model.operations if not isinstance(node, keras.layers.InputLayer)]
    many = keras.Model(model.input, [node.output for node in nodes])
    signature = tf.TensorSpec((None, size, size, 3), "float32")
    function = tf.function(lambda x: many(x, training=False), autograph=False)
    with unfused():
        truth = function.get_concrete_function(signature)(tf.constant(x))
    found = {spec.name: array for spec, array in zip(capture.tensors, capture.first, strict=True)}
    for alias, spec in capture.aliases:
        if alias.kind == "activation":
            found[alias.name] = found[spec.name]
    assert len(nodes) > 20
    for node, value in zip(nodes, truth, strict=True):
        np.testing.assert_array_equal(found[node.name], value.numpy(), node.name)
        assert np.isfinite(found[node.name]).all()

    listed = {layer.path: layer for layer in capture.layers}
    assert {node.name for node in model.operations} <= set(listed)
    for layer in capture.layers:
        assert (layer.reason is None) == (layer.path in {name.split("@")[0] for name in found})
    held = {id(variable) for _, variable in capture.weights}
    assert held == {id(variable) for variable in model.weights}
