"""The random streams shared by a process, and the counters of Keras's automatic names."""

from __future__ import annotations

from typing import Any

from runner.capture import shared_streams
from runner.model.backend import framework
from runner.model.keras_internals import NameCounters, global_generator, use_global_generator


class Streams:
    """The positions of the shared random streams of Python, NumPy, the framework and Keras.

    Keras makes a generator when it first draws without a seed. A generator that did not exist
    is removed again, since making it draws from another stream.
    """

    def __init__(self) -> None:
        self._shared = shared_streams.positions()
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
        shared_streams.set_positions(self._shared)
        self._put_framework_back()
        use_global_generator(self.keras)
        self._names.put_back(names=names)
