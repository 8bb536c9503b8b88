"""How a seed becomes initial weights."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, Literal

import keras
import tensorflow as tf

Seeding = Literal["keras", "tf_global"]

# TensorFlow folds seeds into this range, and never uses the pair (0, 0).
_SEED_MODULUS = 2**31 - 1


@contextlib.contextmanager
def seeded(seed: int, seeding: Seeding) -> Iterator[None]:
    """Draw the initial weights of every layer made and built inside from one seed.

    Parameters
    ----------
    seed
        0 to 4294967295.
    seeding
        ``keras``: ``keras.utils.set_random_seed(seed)`` and Keras's own draws, what
        a person gets by hand. ``tf_global``: the n-th random initializer, in build
        order, draws with the n-th op seed of TensorFlow's global generator, as
        ``tf.random.set_seed(seed)`` meant before Keras 3; biases draw nothing, and
        neither does Dropout.
    """
    keras.utils.set_random_seed(seed)
    if seeding == "keras":
        yield
        return
    # Keras's initializers reach their draws through this one name of their module,
    # so what an initializer computes around its draw stays Keras's own.
    module: Any = sys.modules[keras.initializers.RandomUniform.__module__]
    keras_draws = module.random
    module.random = _tf_global_draws(seed)
    try:
        yield
    finally:
        module.random = keras_draws


def draws_unseen(initializer: keras.initializers.Initializer) -> bool:
    """Tell whether ``tf_global`` cannot know what an initializer draws."""
    return not type(initializer).__module__.startswith("keras.")


class _NoSeedGiven(int):
    """The seed that Keras would have made up for an initializer given none."""


def _tf_global_draws(seed: int) -> SimpleNamespace:
    op_seeds = random.Random(seed)

    def generator(given: Any) -> tf.random.Generator:
        op_seed = op_seeds.randint(0, _SEED_MODULUS) if isinstance(given, _NoSeedGiven) else given
        pair = [op_seed % _SEED_MODULUS, seed % _SEED_MODULUS]
        if pair == [0, 0]:
            pair = [_SEED_MODULUS, 0]
        return tf.random.Generator.from_state([0, *pair], alg="philox")

    def uniform(shape: Any, minval: float, maxval: float, dtype: Any, seed: Any) -> Any:
        return generator(seed).uniform(shape, minval, maxval, dtype or keras.config.floatx())

    def normal(
        shape: Any, mean: float = 0.0, stddev: float = 1.0, dtype: Any = None, seed: Any = None
    ) -> Any:
        return generator(seed).normal(shape, mean, stddev, dtype or keras.config.floatx())

    def truncated_normal(shape: Any, mean: float, stddev: float, dtype: Any, seed: Any) -> Any:
        dtype = dtype or keras.config.floatx()
        return generator(seed).truncated_normal(shape, mean, stddev, dtype)

    return SimpleNamespace(
        uniform=uniform,
        normal=normal,
        truncated_normal=truncated_normal,
        make_default_seed=lambda: _NoSeedGiven(random.randint(1, 10**9)),
        SeedGenerator=keras.random.SeedGenerator,
    )
