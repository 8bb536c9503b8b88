"""Draws initial weights from a seed."""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NoReturn

import keras
import numpy as np

from runner.config.seedings import Seeding
from runner.errors import InputError
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
    traceable
        Whether TensorFlow can trace the draws: their seeds may then be tensors without values.
    """

    pairs: Callable[[int], Callable[[int], Pair]]
    drawing: Callable[[Callable[[int], Any]], contextlib.AbstractContextManager[None]]
    controls: Callable[[keras.initializers.Initializer], bool]
    traceable: bool = True


@contextlib.contextmanager
def seeded(seed: int, seeding: Seeding) -> Iterator[None]:
    """Draw the initial weights of every layer built inside the scope from one seed.

    Parameters
    ----------
    seed
        0 to 4294967295.
    seeding
        A key of `WAYS`.
    """
    keras.utils.set_random_seed(seed)
    scheme = WAYS[seeding]
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
    own = _draws_by_tensorflow if keras.backend.backend() == "tensorflow" else _same_draws_by_numpy
    return SimpleNamespace(
        **own(pair_for),
        make_default_seed=lambda: NoSeedGiven(random.randint(1, 10**9)),
        SeedGenerator=keras.random.SeedGenerator,
    )


def _draws_by_tensorflow(pair_for: Callable[[int], Any]) -> dict[str, Callable[..., Any]]:
    import tensorflow as tf

    def drawn(kind: Callable[..., Any], shape: Any, dtype: Any, pair: Any) -> Any:
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

    def uniform(shape: Any, minval: float, maxval: float, dtype: Any, seed: Any) -> Any:
        found = drawn(tf.raw_ops.StatelessRandomUniformV2, shape, dtype, pair_for(seed))
        low, high = (tf.convert_to_tensor(limit, found.dtype) for limit in (minval, maxval))
        return found * (high - low) + low

    def normal(
        shape: Any, mean: float = 0.0, stddev: float = 1.0, dtype: Any = None, seed: Any = None
    ) -> Any:
        found = drawn(tf.raw_ops.StatelessRandomNormalV2, shape, dtype, pair_for(seed))
        return found * tf.cast(stddev, found.dtype) + tf.cast(mean, found.dtype)

    def truncated_normal(shape: Any, mean: float, stddev: float, dtype: Any, seed: Any) -> Any:
        kind = tf.raw_ops.StatelessTruncatedNormalV2
        found = drawn(kind, shape, dtype, pair_for(seed))
        return found * tf.cast(stddev, found.dtype) + tf.cast(mean, found.dtype)

    return {"uniform": uniform, "normal": normal, "truncated_normal": truncated_normal}


def _same_draws_by_numpy(pair_for: Callable[[int], Any]) -> dict[str, Callable[..., Any]]:
    """Return the draws that are the same bit for bit without TensorFlow: uniform ones."""

    def uniform(shape: Any, minval: float, maxval: float, dtype: Any, seed: Any) -> Any:
        if keras.backend.standardize_dtype(dtype) != "float32":
            refuse()
        found = uniform_numbers(math.prod(shape), *pair_for(seed)).reshape(shape)
        low, high = np.float32(minval), np.float32(maxval)
        return keras.ops.convert_to_tensor(found * (high - low) + low)

    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise InputError.of(
            "model.seeding",
            "tf_global draws float32 numbers of a uniform distribution alone without TensorFlow, "
            "and an initializer asks for others",
            "set model.seeding=keras, or drawn_by=tensorflow",
        )

    return {"uniform": uniform, "normal": refuse, "truncated_normal": refuse}


def uniform_numbers(count: int, op_seed: int, seed: int) -> np.ndarray:
    """Return uniform numbers of TensorFlow's stream for two seeds, in [0, 1).

    The generator is Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
    2011): the global seed is the key, and the op seed the upper half of the counter.

    Returns
    -------
    ndarray
        Shape (count,), float32.
    """
    blocks = -(-count // 4)
    low32, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    position = np.arange(blocks, dtype=np.uint64)
    words = [position & low32, position >> shift]
    words += [np.full(blocks, part, np.uint64) for part in (op_seed & 0xFFFFFFFF, op_seed >> 32)]
    key = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        first, second = words[0] * np.uint64(0xD2511F53), words[2] * np.uint64(0xCD9E8D57)
        words = [
            (second >> shift) ^ words[1] ^ np.uint64(key[0]),
            second & low32,
            (first >> shift) ^ words[3] ^ np.uint64(key[1]),
            first & low32,
        ]
        key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
    bits = np.stack(words, axis=1).reshape(-1)[:count].astype(np.uint32)
    fractions = (bits & np.uint32(0x7FFFFF)) | np.uint32(127 << 23)  # in [1, 2)
    return fractions.view(np.float32) - np.float32(1)


WAYS: dict[Seeding, Scheme] = {
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
