"""Watches the variables that layers create."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras

from runner.patching import patched


@contextlib.contextmanager
def watching_new_variables(note: Callable[[Any, Any, Any, Any], None]) -> Iterator[None]:
    """Call a function for each Keras variable created in the scope, before it is created.

    Parameters
    ----------
    note
        Called with the variable, its initializer (the object that makes the values, or the
        values), its shape and its dtype. The variable is not created if it raises.
    """
    # Layers use a base class of keras.Variable in some versions: both use this constructor.
    kinds = [kind for kind in keras.Variable.__mro__ if kind.__module__.startswith("keras.")]
    [*_, owner] = [kind for kind in kinds if "__init__" in vars(kind)]
    create = owner.__init__

    def noted(
        variable: Any, initializer: Any, shape: Any = None, dtype: Any = None, **others: Any
    ) -> None:
        if isinstance(initializer, str):
            initializer = keras.initializers.get(initializer)
        note(variable, initializer, shape, dtype)
        create(variable, initializer, shape, dtype, **others)

    with patched(owner, __init__=noted):
        yield
