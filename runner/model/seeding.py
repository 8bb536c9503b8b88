"""Draws initial weights from a seed."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Generator, Iterator
from types import SimpleNamespace
from typing import Any, Literal

import keras
import tensorflow as tf

from runner.model.keras_internals import initializers_drawing_from, is_of_keras

Seeding = Literal["keras", "tf_global"]

# TensorFlow reduces seeds modulo this, and never uses the pair (0, 0).
_SEED_MODULUS = 2**31 - 1
_PHILOX = 1  # TensorFlow's number of the algorithm


@contextlib.contextmanager
def seeded(seed: int, seeding: Seeding) -> Iterator[None]:
    """Draw the initial weights of every layer built inside the scope from one seed.

    Parameters
    ----------
    seed
        0 to 4294967295.
    seeding
        ``keras``: ``keras.utils.set_random_seed(seed)`` and Keras's own draws, as in
        code written by hand. ``tf_global``: the n-th random initializer, in build
        order, draws with the n-th op seed of TensorFlow's global generator, as with
        ``tf.random.set_seed(seed)`` before Keras 3; biases and Dropout draw nothing. Only
        TensorFlow draws these numbers.
    """
    keras.utils.set_random_seed(seed)
    if seeding == "keras":
        yield
        return
    pairs = global_seeds(seed)
    next(pairs)
    with drawing_from(pairs.send):
        yield


class NoSeedGiven(int):
    """The seed that Keras chooses for an initializer without one."""


def global_seeds(seed: int) -> Generator[tuple[int, int], int, None]:
    """Generate the seeds that TensorFlow's global generator uses.

    Yields
    ------
    tuple[int, int]
        Op seed and global seed for the draw of an initializer whose own seed is sent, a
        `NoSeedGiven` if it has none. The first value yielded must be discarded.
    """
    op_seeds = random.Random(seed)
    pair = 0, 0
    while True:
        given = yield pair
        op_seed = op_seeds.randint(0, _SEED_MODULUS) if isinstance(given, NoSeedGiven) else given
        pair = op_seed % _SEED_MODULUS, seed % _SEED_MODULUS
        if pair == (0, 0):
            pair = _SEED_MODULUS, 0


@contextlib.contextmanager
def drawing_from(pair_for: Callable[[int], Any]) -> Iterator[None]:
    """Make Keras's initializers draw from TensorFlow's streams.

    Parameters
    ----------
    pair_for
        Function that returns the op seed and the global seed for an initializer with this
        seed: two numbers, or an int64 tensor of both.
    """
    with initializers_drawing_from(_tf_draws(pair_for)):
        yield


def draws_unseen(initializer: keras.initializers.Initializer) -> bool:
    """Return whether ``tf_global`` cannot control the draws of an initializer."""
    return not is_of_keras(type(initializer))


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
