"""Backbones of keras-hub, built small and random: every layer, its values by hand."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from runner.capture.capture import Capture
from runner.engines.tensorflow.tracing import exact as unfused

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    keras_hub = pytest.importorskip(
        "keras_hub", reason='keras-hub is not installed: pip install "activation-runner[hub]"'
    )

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def bert() -> tuple[keras.Model, dict[str, np.ndarray]]:
    model = keras_hub.models.BertBackbone(
        vocabulary_size=30, num_layers=2, num_heads=2, hidden_dim=8, intermediate_dim=16,
        max_sequence_length=7,
    )  # fmt: skip
    tokens = np.arange(21, dtype="int32").reshape(3, 7)
    mask = np.ones_like(tokens)
    mask[0, 4:] = 0
    return model, {"token_ids": tokens, "segment_ids": mask * 0, "padding_mask": mask}


def gpt2() -> tuple[keras.Model, dict[str, np.ndarray]]:
    model = keras_hub.models.GPT2Backbone(
        vocabulary_size=30, num_layers=2, num_heads=2, hidden_dim=8, intermediate_dim=16,
        max_sequence_length=7,
    )  # fmt: skip
    tokens = np.arange(21, dtype="int32").reshape(3, 7)
    return model, {"token_ids": tokens, "padding_mask": np.ones_like(tokens)}


def llama() -> tuple[keras.Model, dict[str, np.ndarray]]:
    model = keras_hub.models.LlamaBackbone(
        vocabulary_size=30, num_layers=2, num_query_heads=2, num_key_value_heads=1,
        hidden_dim=8, intermediate_dim=16,
    )  # fmt: skip
    tokens = np.arange(21, dtype="int32").reshape(3, 7)
    return model, {"token_ids": tokens, "padding_mask": np.ones_like(tokens)}


def vit() -> tuple[keras.Model, np.ndarray]:
    model = keras_hub.models.ViTBackbone(
        image_shape=(16, 16, 3), patch_size=8, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=16
    )
    return model, np.random.default_rng(0).uniform(size=(3, 16, 16, 3)).astype("float32")


@pytest.mark.parametrize("backbone", [bert, gpt2, llama, vit])
def test_every_layer_of_a_backbone(backbone: Callable[[], tuple[keras.Model, Any]]) -> None:
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    model, x = backbone()
    before = [np.array(variable.value) for variable in model.variables]
    classes = keras.Layer.__call__, keras.Operation.__call__
    capture = Capture(model, x)
    assert capture.eager_because is None
    assert (keras.Layer.__call__, keras.Operation.__call__) == classes
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(np.array(variable.value), value)
    found = {spec.name: array for spec, array in zip(capture.tensors, capture.first, strict=True)}
    for alias, spec in capture.aliases:
        if alias.kind == "activation":
            found[alias.name] = found[spec.name]

    # The nodes at the top: a model of many outputs.
    calls: dict[str, list[Any]] = {}
    for node in model.operations:
        if isinstance(node, keras.layers.InputLayer):
            continue
        for position in range(len(node._inbound_nodes)):
            tensors = node._inbound_nodes[position].output_tensors
            calls.setdefault(node.name, []).append(tensors)
    outputs = {}
    for name, nodes in calls.items():
        for call, tensors in enumerate(nodes):
            path = f"{name}@{call}" if len(nodes) > 1 else name
            for place, tensor in enumerate(tensors):
                outputs[f"{path}:{place}" if len(tensors) > 1 else path] = tensor
    many = keras.Model(model.input, list(outputs.values()))
    given = x
    signature = tf.nest.map_structure(
        lambda array: tf.TensorSpec((None, *array.shape[1:]), array.dtype), given
    )
    function = tf.function(lambda x: many(x, training=False), autograph=False)
    with unfused():
        truth = function.get_concrete_function(signature)(tf.nest.map_structure(tf.constant, given))
    why = {layer.path: layer.reason for layer in capture.layers}
    for name, value in zip(outputs, truth, strict=True):
        if name not in found:
            assert why[name.split("@")[0].split(":")[0]], name
            continue
        np.testing.assert_array_equal(found[name], value.numpy(), name)

    # Everything below: each object under a name of its own is found again.
    objects = model._flatten_layers(include_self=False)
    for position, layer in enumerate(objects):
        object.__setattr__(layer, "name", f"object{position}")
    listed = {layer.path.split("/")[-1]: layer for layer in Capture(model, x).layers}
    for position, layer in enumerate(objects):
        assert f"object{position}" in listed, layer
        assert listed[f"object{position}"].layer_class == type(layer).__name__
    assert sum(layer.reason is None for layer in listed.values()) > 10
    held = {id(variable) for _, variable in capture.weights}
    assert held == {id(variable) for variable in model.weights}
