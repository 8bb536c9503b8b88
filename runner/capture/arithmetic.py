"""The operations on tensors of which reductions and changes are made, in any framework."""

from __future__ import annotations

from typing import Any, Protocol


class Arithmetic(Protocol):
    """The functions of `keras.ops`, or others of the same names and arguments.

    Keras has all of them. Modules of PyTorch and converted models have those of NumPy's style that
    work alike there.

    Raises
    ------
    LackingError
        If a library of models does not have one.
    """

    def __getattr__(self, operation: str) -> Any:
        """Return a function by its name."""


class LackingError(AttributeError):
    """A library of models does not have an operation.

    Parameters
    ----------
    operation
        Its name in ``keras.ops``.
    whose
        The models, in the plural.
    """

    def __init__(self, operation: str, whose: str) -> None:
        super().__init__(f"needs `keras.ops.{operation}`, which {whose} do not have")
