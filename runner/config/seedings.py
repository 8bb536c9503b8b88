"""How initial weights can be drawn from a seed: the names of the ways, and what they do."""

from __future__ import annotations

from typing import Literal

Seeding = Literal["keras", "tf_global"]
"""Values of ``model.seeding``."""

DRAWN: dict[str, str] = {
    "keras": "as keras.utils.set_random_seed({}) draws them",
    "tf_global": "as tf.random.set_seed({}) drew them before Keras 3",
}
"""How each seeding draws weights, in words, with a place for the seed."""

_WAYS = "; ".join(f"`{name}`, {words.format('seed')}" for name, words in DRAWN.items())
SEEDING = f"How weights are drawn from the seed: {_WAYS}."
"""What ``model.seeding`` is, in words."""
