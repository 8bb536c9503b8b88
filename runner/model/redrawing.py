"""Redraws a model's initial weights from another seed without rebuilding it."""

from __future__ import annotations

import copy
import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

from runner.config.experiment_config import ExperimentConfig
from runner.model.building import build_model
from runner.model.keras_internals import (
    has_seed,
    is_seeded,
    unseeded_streams,
    watching_new_variables,
)
from runner.model.seeding import WAYS, Pair

# The function where Keras 3 gets the seed of an initializer or of a layer's random stream that
# has none: from Python's generator, one for each in the order of their creation.
_SEEDS = (1, 10**9)
_MOST_SEEDS = 100_000


class RedrawnModel:
    """A compiled model whose initial weights can be redrawn from another seed.

    An initializer without a seed takes one from Python's generator when it is created. To redraw,
    it gets the seed at the same position of another seed's sequence. Whether a seed changes
    anything else in a model is only found by `difference`, which compares it with a model built
    from that seed.

    Parameters
    ----------
    config
        The experiment, with the first seed.

    Attributes
    ----------
    model : keras.Model
        The compiled model, with the weights of the last seed.

    Raises
    ------
    InputError
        If the model cannot be built.
    """

    def __init__(self, config: ExperimentConfig) -> None:
        made: list[tuple[Any, Any]] = []
        with watching_new_variables(lambda variable, made_by, *_: made.append((variable, made_by))):
            self.model = build_model(config)
        self._seed = config.seed
        self._scheme = WAYS[config.seeding]
        own = {id(variable) for variable in self.model.variables}
        self._random = [
            (variable, initializer)
            for variable, initializer in made
            if id(variable) in own and has_seed(initializer)
        ]
        self._streams = [
            (stream.state, int(keras.ops.convert_to_numpy(stream.state)[0]))
            for stream in unseeded_streams(self.model)
        ]
        taken = {int(i.seed) for _, i in self._random if not is_seeded(i)}
        taken |= {seed for _, seed in self._streams}
        sequence = itertools.islice(_seeds(config.seed), _MOST_SEEDS if taken else 0)
        self._places: dict[int, int] = {}
        for place, seed in enumerate(sequence):
            if seed in taken:
                self._places.setdefault(seed, place)
                if len(self._places) == len(taken):
                    break
        self._can_redraw = len(self._places) == len(taken)
        self._own_seeds = [int(i.seed) for _, i in self._random if not is_seeded(i)]
        self._own_seeds += [seed for _, seed in self._streams]
        traces = self._scheme.traceable and keras.backend.backend() == "tensorflow"
        self._draw = _traced(self._drawn) if traces else self._drawn

    def redraw(self, seed: int) -> None:
        """Set the model's initial weights and random streams to those of another seed."""
        if seed == self._seed or not self._can_redraw:
            return
        self._seed = seed
        last = max(self._places.values(), default=-1)
        sequence = list(itertools.islice(_seeds(seed), last + 1))
        drawn = [sequence[self._places[own]] for own in self._own_seeds]
        self._draw(drawn, self._pairs(seed))

    def _pairs(self, seed: int) -> list[Pair]:
        """Return the two seeds of each initializer's draw, in order."""
        pair_for = self._scheme.pairs(seed)
        return [pair_for(initializer.seed) for _, initializer in self._random]

    def _drawn(self, seeds: Sequence[Any], pairs: Sequence[Any]) -> None:
        """Draw and assign every random variable."""
        given, one_by_one = iter(seeds), iter(pairs)
        with self._scheme.drawing(lambda _: next(one_by_one)):
            for variable, initializer in self._random:
                fresh = copy.copy(initializer)
                if not is_seeded(initializer):
                    own_seed = next(given)
                    fresh.seed = own_seed if isinstance(own_seed, int) else _Given(own_seed)
                variable.assign(fresh(tuple(variable.shape), dtype=variable.dtype))
        for state, _ in self._streams:
            state.assign(keras.ops.stack([next(given), 0]))

    def difference(self, built: keras.Model) -> str | None:
        """Return the path of the first variable whose bits differ in another model, or ``None``."""
        ours, theirs = self.model.variables, built.variables
        if len(ours) != len(theirs):
            return "their number"
        for mine, other in zip(ours, theirs, strict=True):
            if _bits(mine) != _bits(other):
                return str(mine.path)
        return None


def _traced(draw: Callable[[Sequence[Any], Sequence[Any]], None]) -> Callable[..., None]:
    """Return a function of TensorFlow that draws all weights, traced once for all seeds."""
    import tensorflow as tf

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def drawn(seeds: Any, pairs: Any) -> None:
        draw(tf.unstack(seeds), tf.unstack(pairs))

    def called(seeds: Sequence[int], pairs: Sequence[Pair]) -> None:
        drawn(
            tf.constant(seeds, tf.int64, (len(seeds),)),
            tf.constant(pairs, tf.int64, (len(pairs), 2)),
        )

    return called


class _Given(keras.random.SeedGenerator):  # type: ignore[misc]
    """A seed whose value is known only when the graph runs."""

    def __init__(self, seed: Any) -> None:
        self._seed = seed

    def next(self, ordered: bool = True) -> Any:  # noqa: ARG002
        return keras.ops.stack([self._seed, 0])


def _bits(variable: keras.Variable) -> tuple[str, tuple[int, ...], bytes]:
    value = keras.ops.convert_to_numpy(variable)
    return value.dtype.name, value.shape, value.tobytes()


def _seeds(seed: int) -> Iterator[int]:
    generator = random.Random(seed)
    while True:
        yield generator.randint(*_SEEDS)
