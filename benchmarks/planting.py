"""Faults that are planted in one layer of a copy of a Keras model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

Change = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Fault:
    """A fault in one layer.

    Attributes
    ----------
    model, layer
        Their names.
    kind
        What is wrong, such as ``scale``.
    weight
        The weight that is changed; ``None`` if none is.
    change
        What becomes of it.
    config
        Other values for keys of the layer's configuration.
    layer_class
        Another class for the layer.
    """

    model: str
    layer: str
    kind: str
    weight: str | None = None
    change: Change | None = None
    config: tuple[tuple[str, Any], ...] = ()
    layer_class: type[keras.Layer] | None = None

    def planted(self, model: keras.Model) -> keras.Model:
        """Return a copy of a model with the fault."""

        def copied(layer: keras.Layer) -> keras.Layer:
            own = layer.name == self.layer
            config = layer.get_config() | dict(self.config if own else ())
            return ((own and self.layer_class) or type(layer)).from_config(config)

        copy = keras.models.clone_model(model, clone_function=copied)
        copy.set_weights(model.get_weights())
        if self.weight is not None and self.change is not None:
            [variable] = (
                each
                for each in copy.get_layer(self.layer).variables
                if each.path.endswith(f"/{self.weight}")
            )
            variable.assign(self.change(np.asarray(variable)))
        return copy


@keras.saving.register_keras_serializable("benchmarks")
class Shifted(keras.layers.Conv2D):
    """A convolution whose padding is all before the values where Keras divides it."""

    def call(self, inputs: Any) -> Any:
        """Pad at the top and at the left, and convolve."""
        before = [
            (size - 1) // stride
            for size, stride in zip(self.kernel_size, self.strides, strict=True)
        ]
        padded = keras.ops.pad(inputs, [[0, 0], *([each, 1] for each in before), [0, 0]])
        height, width = inputs.shape[1:3]
        size = [
            (-(-axis // stride) - 1) * stride + kernel
            for axis, stride, kernel in zip(
                (height, width), self.strides, self.kernel_size, strict=True
            )
        ]
        self.padding = "valid"
        try:
            return super().call(padded[:, : size[0], : size[1]])
        finally:
            self.padding = "same"


@keras.saving.register_keras_serializable("benchmarks")
class Biased(keras.layers.LayerNormalization):
    """A normalization that divides the variance by one less than the number of values."""

    def call(self, inputs: Any) -> Any:
        """Normalize."""
        count = inputs.shape[-1]
        return super().call(inputs) * ((count - 1) / count) ** 0.5


@keras.saving.register_keras_serializable("benchmarks")
class Exchanged(keras.layers.Concatenate):
    """A concatenation of its inputs in reverse order."""

    def call(self, inputs: Any) -> Any:
        """Concatenate."""
        return super().call(inputs[::-1])


def _scaled(values: np.ndarray) -> np.ndarray:
    return values * 1.1


def _shifted(values: np.ndarray) -> np.ndarray:
    return values + 0.1


def _noisy(values: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(3).normal(size=values.shape)
    return values + 0.1 * values.std() * noise


def _one_wrong(values: np.ndarray) -> np.ndarray:
    changed = values.copy()
    changed.flat[np.abs(values).argmax()] *= -1
    return changed


def _transposed(values: np.ndarray) -> np.ndarray:
    return values.swapaxes(0, 1)


def _units_transposed(values: np.ndarray) -> np.ndarray:
    return values.swapaxes(-1, -2)


def _turned(values: np.ndarray) -> np.ndarray:
    return values[::-1, ::-1]


def _gates_swapped(values: np.ndarray) -> np.ndarray:
    first, second, *others = np.split(values, 4, axis=-1)
    return np.concatenate([second, first, *others], axis=-1)


def _gates_transposed(values: np.ndarray) -> np.ndarray:
    return np.concatenate([gate.T for gate in np.split(values, 4, axis=-1)], axis=-1)


def _reversed(values: np.ndarray) -> np.ndarray:
    return values[::-1]


FAULTS: tuple[Fault, ...] = (
    Fault("mlp", "first", "scale", "kernel", _scaled),
    Fault("mlp", "second", "one weight", "kernel", _one_wrong),
    Fault("mlp", "second", "transposed", "kernel", _transposed),
    Fault("mlp", "third", "bias", "bias", _shifted),
    Fault("mlp", "third", "activation", config=(("activation", "mish"),)),
    Fault("mlp", "second", "activation", config=(("activation", "sigmoid"),)),
    Fault("mlp", "scores", "weights", "kernel", _noisy),
    Fault("cnn", "conv_a", "weights", "kernel", _noisy),
    Fault("cnn", "conv_a", "scale", "kernel", _scaled),
    Fault("cnn", "conv_a", "transposed", "kernel", _transposed),
    Fault("cnn", "conv_a", "padding", layer_class=Shifted),
    Fault("cnn", "norm_a", "scale", "gamma", _scaled),
    Fault("cnn", "norm_a", "epsilon", config=(("epsilon", 0.1),)),
    Fault("cnn", "norm_a", "statistics", "moving_mean", _reversed),
    Fault("cnn", "norm_a", "bias", "beta", _shifted),
    Fault("cnn", "relu_a", "activation", config=(("max_value", 1.0),)),
    Fault("cnn", "conv_b", "activation", config=(("activation", "elu"),)),
    Fault("cnn", "conv_b", "units transposed", "kernel", _units_transposed),
    Fault("cnn", "average", "pooling", layer_class=keras.layers.MaxPooling2D),
    Fault("cnn", "conv_c", "scale", "kernel", _scaled),
    Fault("cnn", "conv_c", "turned", "kernel", _turned),
    Fault("cnn", "norm_c", "statistics", "moving_variance", _reversed),
    Fault("cnn", "leaky", "activation", config=(("negative_slope", 0.3),)),
    Fault("depthwise", "stem", "one weight", "kernel", _one_wrong),
    Fault("depthwise", "expand", "weights", "kernel", _noisy),
    Fault("depthwise", "expand_norm", "weights", "gamma", _reversed),
    Fault("depthwise", "depth", "transposed", "kernel", _transposed),
    Fault("depthwise", "depth", "scale", "kernel", _scaled),
    Fault("depthwise", "depth_relu", "activation", config=(("max_value", 0.2),)),
    Fault("depthwise", "project", "weights", "kernel", _noisy),
    Fault("depthwise", "project_norm", "epsilon", config=(("epsilon", 0.1),)),
    Fault("depthwise", "separable", "transposed", "depthwise_kernel", _transposed),
    Fault("residual", "down", "padding", layer_class=Shifted),
    Fault("residual", "down_norm", "statistics", "moving_mean", _reversed),
    Fault("residual", "down_swish", "activation", config=(("activation", "hard_swish"),)),
    Fault("residual", "short", "scale", "kernel", _scaled),
    Fault("residual", "joined_relu", "activation", config=(("negative_slope", 0.1),)),
    Fault("residual", "up", "transposed", "kernel", _transposed),
    Fault("residual", "up_swish", "activation", config=(("activation", "swish"),)),
    Fault("transformer", "embed", "bias", "bias", _shifted),
    Fault("transformer", "norm_a", "epsilon", config=(("epsilon", 0.1),)),
    Fault("transformer", "norm_b", "scale", layer_class=Biased),
    Fault("transformer", "attention", "scale", "query/kernel", _scaled),
    Fault("transformer", "attention", "weights", "attention_output/kernel", _noisy),
    Fault("transformer", "wide", "activation", config=(("activation", "relu"),)),
    Fault("transformer", "narrow", "weights", "kernel", _noisy),
    Fault("recurrent", "below", "gates", "recurrent_kernel", _gates_swapped),
    Fault("recurrent", "below", "transposed", "recurrent_kernel", _gates_transposed),
    Fault("recurrent", "above", "weights", "recurrent_kernel", _noisy),
    Fault("recurrent", "above", "activation", config=(("activation", "relu"),)),
    Fault("unet", "narrow", "turned", "kernel", _turned),
    Fault("unet", "sloped", "weights", "alpha", _shifted),
    Fault("unet", "reduce", "one weight", "kernel", _one_wrong),
    Fault("unet", "excite", "activation", config=(("activation", "sigmoid"),)),
    Fault("unet", "enlarge", "interpolation", config=(("interpolation", "bilinear"),)),
    Fault("unet", "both", "order", layer_class=Exchanged),
    Fault("unet", "refine_norm", "bias", "beta", _shifted),
    Fault("unet", "head", "scale", "kernel", _scaled),
)
