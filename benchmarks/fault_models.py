"""Small models of several kinds, in which faults are planted by `benchmarks.faults`."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
from keras import layers

ROWS = 12


def mlp() -> keras.Model:
    """Return a model of dense layers with several activations."""
    given = keras.Input((12,))
    x = layers.Dense(16, "relu", name="first")(given)
    x = layers.Dense(16, "tanh", name="second")(x)
    x = layers.Dense(16, "swish", name="third")(x)
    return keras.Model(given, layers.Dense(4, "softmax", name="scores")(x), name="mlp")


def cnn() -> keras.Model:
    """Return a model whose convolutions, normalizations and activations are fused."""
    given = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False, name="conv_a")(given)
    x = layers.BatchNormalization(name="norm_a")(x)
    x = layers.ReLU(6.0, name="relu_a")(x)
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="conv_b")(x)
    x = layers.AveragePooling2D(2, name="average")(x)
    x = layers.Conv2D(6, 3, padding="same", name="conv_c")(x)
    x = layers.BatchNormalization(name="norm_c")(x)
    x = layers.LeakyReLU(negative_slope=0.1, name="leaky")(x)
    x = layers.MaxPooling2D(2, name="most")(x)
    x = layers.Flatten(name="flat")(x)
    return keras.Model(given, layers.Dense(5, name="scores")(x), name="cnn")


def depthwise() -> keras.Model:
    """Return a model of inverted residual blocks, as in MobileNetV2."""
    given = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False, name="stem")(given)
    x = layers.BatchNormalization(name="stem_norm")(x)
    x = stem = layers.ReLU(6.0, name="stem_relu")(x)
    x = layers.Conv2D(16, 1, use_bias=False, name="expand")(x)
    x = layers.BatchNormalization(name="expand_norm")(x)
    x = layers.ReLU(6.0, name="expand_relu")(x)
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="depth")(x)
    x = layers.BatchNormalization(name="depth_norm")(x)
    x = layers.ReLU(6.0, name="depth_relu")(x)
    x = layers.Conv2D(8, 1, use_bias=False, name="project")(x)
    x = layers.BatchNormalization(name="project_norm")(x)
    x = layers.Add(name="joined")([stem, x])
    x = layers.SeparableConv2D(8, 3, padding="same", activation="relu", name="separable")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(given, layers.Dense(5, "softmax", name="scores")(x), name="depthwise")


def residual() -> keras.Model:
    """Return a model with a convolution in its shortcut, and a transposed one."""
    given = keras.Input((12, 12, 3))
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="stem")(given)
    short = layers.Conv2D(8, 1, strides=2, name="short")(x)
    y = layers.Conv2D(8, 3, strides=2, padding="same", name="down")(x)
    y = layers.BatchNormalization(name="down_norm")(y)
    y = layers.Activation("swish", name="down_swish")(y)
    y = layers.Conv2D(8, 3, padding="same", name="deep")(y)
    x = layers.Add(name="joined")([short, y])
    x = layers.ReLU(name="joined_relu")(x)
    x = layers.Conv2DTranspose(6, 3, strides=2, padding="same", name="up")(x)
    x = layers.Activation("hard_swish", name="up_swish")(x)
    x = layers.GlobalMaxPooling2D(name="pool")(x)
    return keras.Model(given, layers.Dense(5, name="scores")(x), name="residual")


def transformer() -> keras.Model:
    """Return a block of a transformer."""
    given = keras.Input((8, 6))
    x = layers.Dense(8, name="embed")(given)
    y = layers.LayerNormalization(name="norm_a")(x)
    y = layers.MultiHeadAttention(2, 4, name="attention")(y, y)
    x = layers.Add(name="joined_a")([x, y])
    y = layers.LayerNormalization(name="norm_b")(x)
    y = layers.Dense(16, "swish", name="wide")(y)
    y = layers.Dense(8, name="narrow")(y)
    x = layers.Add(name="joined_b")([x, y])
    x = layers.GlobalAveragePooling1D(name="pool")(x)
    return keras.Model(given, layers.Dense(4, name="scores")(x), name="transformer")


def recurrent() -> keras.Model:
    """Return a model of recurrent layers."""
    given = keras.Input((7, 4))
    x = layers.LSTM(6, return_sequences=True, name="below")(given)
    x = layers.GRU(6, name="above")(x)
    return keras.Model(given, layers.Dense(3, name="scores")(x), name="recurrent")


def unet() -> keras.Model:
    """Return a model that reduces maps and enlarges them again, with gates of its channels."""
    given = keras.Input((16, 16, 3))
    x = wide = layers.Conv2D(6, 3, padding="same", activation="relu", name="wide")(given)
    x = layers.MaxPooling2D(2, name="most")(x)
    x = layers.Conv2D(8, 3, padding="same", name="narrow")(x)
    x = maps = layers.PReLU(shared_axes=[1, 2], name="sloped")(x)
    x = layers.GlobalAveragePooling2D(keepdims=True, name="squeeze")(x)
    x = layers.Dense(4, "swish", name="reduce")(x)
    x = layers.Dense(8, "hard_sigmoid", name="excite")(x)
    x = layers.Multiply(name="gated")([maps, x])
    x = layers.UpSampling2D(2, interpolation="nearest", name="enlarge")(x)
    x = layers.Concatenate(name="both")([wide, x])
    x = layers.Conv2D(6, 3, padding="same", use_bias=False, name="refine")(x)
    x = layers.BatchNormalization(name="refine_norm")(x)
    x = layers.Activation("elu", name="refine_elu")(x)
    return keras.Model(given, layers.Conv2D(2, 1, name="head")(x), name="unet")


MODELS: dict[str, Callable[[], keras.Model]] = {
    each.__name__: each for each in (mlp, cnn, depthwise, residual, transformer, recurrent, unet)
}


def made(name: str) -> keras.Model:
    """Return a model whose weights are those of no fresh one: biases and statistics vary, too."""
    keras.utils.set_random_seed(0)
    model = MODELS[name]()
    vary(model)
    return model


def vary(model: keras.Model) -> None:
    """Change the weights that layers begin with as constants."""
    rng = np.random.default_rng(1)
    for variable in model.variables:
        values = np.asarray(variable)
        if values.ndim == 1 and values.size and values.dtype.kind == "f":
            spread = 0.2 * rng.normal(size=values.shape)
            variable.assign(values * np.exp(spread) + 0.5 * spread * (values == 0))


def inputs_of(model: keras.Model) -> np.ndarray:
    """Return random samples of the shape that a model takes."""
    shape = model.inputs[0].shape[1:]
    return np.random.default_rng(2).normal(size=(ROWS, *shape)).astype(np.float32)
