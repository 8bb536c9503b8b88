"""The functions that a framework must provide so that a capture need not know it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    import numpy as np

    from runner.engines.settings import Backend

Found = TypeVar("Found")
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Pass(Generic[Found]):
    """The results of one forward pass.

    Attributes
    ----------
    tensors
        The selected tensors.
    updates
        New values of variables, by their position among the given ones.
    found
        Everything else that is known of the pass, which is the same in every pass of a
        traced function.
    refused
        Selected tensors that have no table. They are computed as the others are, so that an error
        on the way to them is raised, and not returned.
    """

    tensors: list[Any]
    updates: dict[int, Any]
    found: Found
    refused: list[Any] = field(default_factory=list)


class Resource(Protocol):
    """A value of the framework, outside Keras's variables, that a pass can change."""

    @property
    def handle(self) -> Any:
        """What identifies it; keeps it alive."""

    def read(self) -> Any:
        """Return its value."""

    def write(self, value: Any) -> None:
        """Set it to a value that `read` returned."""


@dataclass(frozen=True, eq=False)
class Traced(Generic[Found]):
    """A forward pass as a compiled function.

    Attributes
    ----------
    function
        Takes the values of variables and a batch; returns the tensors, the new values of the
        variables that ``example.updates`` names, and the refused tensors.
    example
        The pass as traced; its tensors are symbolic.
    resources
        The resources that running it changes.
    runs_python
        Whether running it runs Python code.
    varies
        Whether running it twice with the same arguments may give different values.
    fixed_axes
        Positions of the tensors whose first axis has a fixed length.
    kept
        Objects that it needs, kept from being deleted with the layers that the trace made.
    largest
        Path of the operation with the largest result for the traced batch, and its bytes.
    rows
        Number of samples of the batches that it takes; ``None`` if it takes batches of any size.
    """

    function: Callable[[list[Any], Any], tuple[list[Any], list[Any], list[Any]]]
    example: Pass[Found]
    resources: tuple[Resource, ...] = ()
    runs_python: bool = False
    varies: bool = False
    fixed_axes: frozenset[int] = frozenset()
    kept: tuple[Any, ...] = ()
    largest: tuple[str, int] = ("", 0)
    rows: int | None = None

    def __call__(self, values: list[Any], batch: Any) -> Pass[Found]:
        """Run the pass."""
        tensors, updated, _ = self.function(values, batch)
        updates = dict(zip(self.example.updates, updated, strict=True))
        return Pass(tensors, updates, self.example.found)


class Marks(Protocol):
    """Marks tensors of a pass, so that the gradient of a loss can be taken at each."""

    def fits(self, value: Any) -> bool:
        """Return whether a value is a floating-point tensor of this pass, not of a loop in it."""

    def apart(self, tensor: Any) -> Any:
        """Return a new tensor of equal values."""

    def mark(self, tensor: Any) -> None:
        """Mark a tensor before anything is computed from it."""


class Gradients(Protocol):
    """The gradients of a loss, a single number."""

    def at(self, tensors: Sequence[Any]) -> list[Any]:
        """Return the gradient at each of some marked tensors, or ``None``. Called once."""

    def depends_on(self, tensor: Any) -> bool:
        """Return whether the loss depends on a tensor; true also where that is not known."""


class Engine(Protocol):
    """The functions of a framework that a capture uses: a module that has all of them."""

    # Values

    def is_tensor(self, value: Any) -> bool:
        """Return whether a value is a tensor, dense or not."""

    def is_passed(self, value: Any) -> bool:
        """Return whether a value is a tensor of the pass; constants are made before it."""

    def is_floating(self, value: Any) -> bool:
        """Return whether a value is a dense tensor of floating-point numbers."""

    def shape_of(self, value: Any) -> tuple[int | None, ...] | None:
        """Return the shape of a dense tensor; ``None`` for other values and unknown ranks."""

    def unfit(self, tensor: Any, it: str, rows: int | None) -> str | None:
        """Return why a value of the pass has no table, or ``None``.

        The reason calls the value `it`; `rows` is the number of samples.
        """

    def as_tensor(self, array: Any) -> Any:
        """Return an array as a tensor."""

    def as_array(self, tensor: Any) -> np.ndarray:
        """Return the values of a tensor, sharing its memory where possible."""

    # Variables

    def values_of(self, variables: Sequence[Any]) -> list[Any]:
        """Return the present values of Keras's variables as tensors."""

    def name_of(self, variable: Any) -> str:
        """Return the name that a variable of the framework was given, or has by default."""

    def is_variable(self, value: Any) -> bool:
        """Return whether a value is a variable of the framework, unknown to Keras."""

    def value_of(self, variable: Any) -> np.ndarray:
        """Return a copy of the value of a variable of Keras or of the framework."""

    def unfit_weight(self, variable: Any) -> str | None:
        """Return why a variable has no table, or ``None``."""

    def plain_variables(
        self, attributes: Mapping[Any, Any], seen: set[int]
    ) -> Iterator[tuple[str, Any]]:
        """Yield the variables of the framework in an object's attributes, each once.

        A variable is named after the attribute that holds it: ``scale``, ``tables.0`` in a
        list, ``cell.w`` in a module. Objects whose identity is in `seen` are left out; it is
        extended in place.
        """

    # Objects with Python attributes

    plain_types: tuple[type, ...]
    """Types whose instances hold nothing that can change."""

    module_types: tuple[type, ...]
    """Types whose instances hold variables and layers in attributes."""

    wrapping_types: tuple[type, ...]
    """Types of compiled functions."""

    def wrapped_by(self, thing: Any) -> list[Any]:
        """Return what one of the framework's own functions or containers wraps."""

    # State

    def noting_changes(
        self,
        note: Callable[[Resource], None],
        *,
        every_thread: bool = False,
        is_quiet: bool = False,
    ) -> AbstractContextManager[Mapping[int, Any]]:
        """Note every resource before it is changed in the scope.

        Parameters
        ----------
        note
            Called with each resource.
        every_thread
            Whether to observe all threads.
        is_quiet
            Whether only Keras's own code runs, and was seen to change no resource.

        Yields
        ------
        Mapping
            The handles of the resources made in the scope, by identity.

        Raises
        ------
        InputError
            If a resource could not be restored.
        """

    def random_streams(self) -> Callable[[], None]:
        """Return a function that restores the present positions of the random streams."""

    # Passes

    def trace(
        self, forward: Callable[[list[Any], Any], Pass[Found]], values: list[Any], batch: Any
    ) -> Traced[Found] | None:
        """Trace a forward pass; raises what `forward` raises.

        Returns ``None`` if the framework compiles nothing, so that each pass runs Python code.

        Parameters
        ----------
        forward
            Function that runs it on the values of variables and a batch.
        values, batch
            An example of each; a batch is a tree of arrays of shape (sample, ...).
        """

    lanes: int
    """Number of rows that matrix products compute side by side: in batches of a multiple of it, a
    sample's values do not depend on its position. 1 if they never do."""

    def exact(self) -> AbstractContextManager[None]:
        """Compute values in the scope that do not depend on which others are captured."""

    def watching(
        self, is_mine: Callable[[], bool], was_read: Callable[[Any], None]
    ) -> AbstractContextManager[None]:
        """Run functions that the framework would compile, or compute again, as Python code.

        Parameters
        ----------
        is_mine
            Tells whether the current thread is that of the pass.
        was_read
            Called with each variable of the framework that is read in that thread.
        """

    def noting_origins(self) -> AbstractContextManager[None]:
        """Note in the scope how tensors are computed, if nothing else tells it.

        It slows a pass down: `derivation` and its like tell less of passes outside the scope.
        """

    def differentiated(
        self, run: Callable[[Marks], tuple[Any, Result]]
    ) -> tuple[Result, Gradients]:
        """Run a pass and differentiate its loss.

        Parameters
        ----------
        run
            Function that runs the pass; returns the loss, and a result that is passed on. It may
            be called again: it then runs the pass again from the same state, and its result is
            not used.
        """

    # What is known of how a tensor was computed

    def derivation(
        self, tensor: Any, source: Callable[[Any], dict[str, Any] | None]
    ) -> dict[str, Any] | None:
        """Describe how a tensor was computed from named tensors.

        Parameters
        ----------
        tensor
            A tensor of the pass.
        source
            Function that returns ``{"tensor": name}``, ``{"input": place}`` or
            ``{"weight": name}`` for a tensor that has a name, else ``None``. It is not called
            for `tensor` itself.

        Returns
        -------
        dict or None
            ``operation`` and ``of``, the descriptions of its inputs, with its parameters; a
            source; or a constant (``constant``, or ``range`` with start, stop and step). If
            it cannot be described: ``unknown``, the name of the operation. ``None`` if the
            pass is not traced.
        """

    def before_casts(self, tensor: Any) -> Any:
        """Return the tensor from which another one is made by casts alone, or that itself."""

    def elementwise_sources(self, tensor: Any) -> Sequence[Any]:
        """Return the inputs of the operation that made a tensor entry by entry, if one did."""

    def shows_logits(self, tensor: Any) -> bool:
        """Return whether Keras finds the logits of a tensor by the operation that made it."""

    # Errors

    def message_of(self, error: Exception) -> str:
        """Return the message of an error that a pass raised, without the framework's additions."""

    def index_outside(self, error: Exception) -> tuple[int, int, int] | None:
        """Return the index that a pass looked up in vain, and the first and last that there are.

        ``None`` if the error is another one.
        """

    # Settings

    def start(self) -> None:
        """Initialize the devices, which writes log lines."""

    def read_settings(self) -> Backend:
        """Return the settings of the framework."""

    def deterministic(self) -> AbstractContextManager[None]:
        """Allow only deterministic operations inside the scope."""
