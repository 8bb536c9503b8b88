"""The random streams shared by a process, and the counters of Keras's automatic names."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from tensorflow.python.eager import context
from tensorflow.python.ops import stateful_random_ops

from runner.model.keras_internals import NameCounters, global_generator, use_global_generator


class Streams:
    """The positions of the shared random streams of Python, NumPy, TensorFlow and Keras.

    Keras and TensorFlow make a generator when they first draw without a seed. A generator
    that did not exist is removed again, since making it draws from another stream.
    """

    def __init__(self) -> None:
        eager = context.context()
        self._python = random.getstate()
        self._numpy = np.random.get_state()
        self._seed = getattr(eager, "_seed", None)
        self._operations = getattr(eager, "_rng", None)
        self._operation_state = self._operations and self._operations.getstate()
        self._tensorflow = stateful_random_ops.global_generator
        self.keras: Any = global_generator()
        self._names = NameCounters()

    def put_back(self, *, names: bool = True) -> None:
        """Restore the position of every stream.

        Parameters
        ----------
        names
            Whether to restore the counters of automatic names too: not after a call that made
            layers which stay.
        """
        eager = context.context()
        random.setstate(self._python)
        np.random.set_state(self._numpy)
        eager._seed = self._seed
        if self._operations is not None:
            eager._rng = self._operations
            self._operations.setstate(self._operation_state)
        stateful_random_ops.global_generator = self._tensorflow
        use_global_generator(self.keras)
        self._names.put_back(names=names)
