"""The random streams shared by a process, and the counters of Keras's automatic names."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from runner.model.backend import framework
from runner.model.keras_internals import NameCounters, global_generator, use_global_generator


class Streams:
    """The positions of the shared random streams of Python, NumPy, the framework and Keras.

    Keras makes a generator when it first draws without a seed. A generator that did not exist
    is removed again, since making it draws from another stream.
    """

    def __init__(self) -> None:
        self._python = random.getstate()
        self._numpy = np.random.get_state()
        self._put_framework_back = framework().random_streams()
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
        random.setstate(self._python)
        np.random.set_state(self._numpy)
        self._put_framework_back()
        use_global_generator(self.keras)
        self._names.put_back(names=names)
