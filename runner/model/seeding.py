"""Draws initial weights from a seed."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import keras
import tensorflow as tf

from runner.config.seedings import Seeding
from runner.model.keras_internals import initializers_drawing_from, is_of_keras

# TensorFlow reduces seeds modulo this, and never uses the pair (0, 0).
_SEED_MODULUS = 2**31 - 1
_PHILOX = 1  # TensorFlow's number of the algorithm

Pair = tuple[int, int]


@dataclass(frozen=True)
class Scheme:
    """How initializers draw weights.

    Attributes
    ----------
    pairs
        For a seed, returns the function that gives each draw its two seeds, in build order. It is
        called with the initializer's own seed, a `NoSeedGiven` if it has none.
    drawing
        Makes initializers draw inside a scope with two seeds that a function returns: two numbers,
        or an int64 tensor of both.
    controls
        Whether an initializer draws in this way.
    """

    pairs: Callable[[int], Callable[[int], Pair]]
    drawing: Callable[[Callable[[int], Any]], contextlib.AbstractContextManager[None]]
    controls: Callable[[keras.initializers.Initializer], bool]


@contextlib.contextmanager
def seeded(seed: int, seeding: Seeding) -> Iterator[None]:
    """Draw the initial weights of every layer built inside the scope from one seed.

    Parameters
    ----------
    seed
        0 to 4294967295.
    seeding
        A key of `SCHEMES`.
    """
    keras.utils.set_random_seed(seed)
    scheme = SCHEMES[seeding]
    with scheme.drawing(scheme.pairs(seed)):
        yield


class NoSeedGiven(int):
    """The seed that Keras chooses for an initializer without one."""


def _global_pairs(seed: int) -> Callable[[int], Pair]:
    """Return the op seed and the global seed of each draw of TensorFlow's global generator."""
    op_seeds = random.Random(seed)

    def pair(given: int) -> Pair:
        op_seed = op_seeds.randint(0, _SEED_MODULUS) if isinstance(given, NoSeedGiven) else given
        found = op_seed % _SEED_MODULUS, seed % _SEED_MODULUS
        return found if found != (0, 0) else (_SEED_MODULUS, 0)

    return pair


def _tf_draws(pair_for: Callable[[int], Any]) -> SimpleNamespace:
    def uniform(shape: Any, minval: float, maxval: float, dtype: Any, seed: Any) -> Any:
        drawn = _drawn(tf.raw_ops.StatelessRandomUniformV2, shape, dtype, pair_for(seed))
        low, high = (tf.convert_to_tensor(limit, drawn.dtype) for limit in (minval, maxval))
        return drawn * (high - low) + low

    def normal(
        shape: Any, mean: float = 0.0, stddev: float = 1.0, dtype: Any = None, seed: Any = None
    ) -> Any:
        drawn = _drawn(tf.raw_ops.StatelessRandomNormalV2, shape, dtype, pair_for(seed))
        return drawn * tf.cast(stddev, drawn.dtype) + tf.cast(mean, drawn.dtype)

    def truncated_normal(shape: Any, mean: float, stddev: float, dtype: Any, seed: Any) -> Any:
        kind = tf.raw_ops.StatelessTruncatedNormalV2
        drawn = _drawn(kind, shape, dtype, pair_for(seed))
        return drawn * tf.cast(stddev, drawn.dtype) + tf.cast(mean, drawn.dtype)

    return SimpleNamespace(
        uniform=uniform,
        normal=normal,
        truncated_normal=truncated_normal,
        make_default_seed=lambda: NoSeedGiven(random.randint(1, 10**9)),
        SeedGenerator=keras.random.SeedGenerator,
    )


def _drawn(kind: Callable[..., Any], shape: Any, dtype: Any, pair: Any) -> Any:
    """Draw from the stream of a stateful op with these two seeds."""
    op_seed, seed = tf.unstack(tf.cast(pair, tf.uint64))
    counter = tf.stack([tf.zeros((), tf.uint64), op_seed])
    return kind(
        shape=tf.constant(tuple(shape), tf.int32),
        key=seed[None],
        counter=counter,
        alg=_PHILOX,
        dtype=tf.as_dtype(dtype or keras.config.floatx()),
    )


SCHEMES: dict[Seeding, Scheme] = {
    # ``keras.utils.set_random_seed(seed)`` and Keras's own draws, as in code written by hand.
    "keras": Scheme(
        pairs=lambda _seed: lambda _given: (0, 0),
        drawing=lambda _pair_for: contextlib.nullcontext(),
        controls=lambda _initializer: True,
    ),
    # As with ``tf.random.set_seed(seed)`` before Keras 3: the n-th random initializer draws with
    # the n-th op seed of TensorFlow's global generator; biases and Dropout draw nothing.
    "tf_global": Scheme(
        pairs=_global_pairs,
        drawing=lambda pair_for: initializers_drawing_from(_tf_draws(pair_for)),
        controls=lambda initializer: is_of_keras(type(initializer)),
    ),
}
"""The schemes by the names that ``model.seeding`` takes."""
