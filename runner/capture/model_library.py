"""What a library of models must provide so that a capture need not know it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from runner.capture.batches import Shown
from runner.capture.changing import Changes
from runner.capture.inventory import Inventory
from runner.capture.selection import Selection
from runner.engines.settings import Backend
from runner.errors import CallError
from runner.probe.batch import Batch
from runner.probe.probe import Probe
from runner.probe.source import Layout
from runner.tensors import InputSpec, TensorSpec

if TYPE_CHECKING:
    import numpy as np


class Tensors(Protocol):
    """The tensors and variables of a library of models: a module that has these functions."""

    def is_tensor(self, value: Any) -> bool:
        """Return whether a value is a tensor, dense or not."""

    def unfit(self, tensor: Any, it: str, rows: int | None) -> str | None:
        """Return why a value of a pass has no table, or ``None``.

        The reason calls the value `it`; `rows` is the number of samples.
        """

    def stored(self, tensor: Any, spec: TensorSpec, dtype: str | None) -> Any:
        """Return a tensor reduced as `spec` says and cast to a dtype, if it is floating."""

    def unfit_weight(self, variable: Any) -> str | None:
        """Return why a variable has no table, or ``None``."""

    def is_plain(self, variable: Any) -> bool:
        """Return whether a variable is part of a model, but unknown to its library."""

    def described(self, variable: Any) -> tuple[tuple[int, ...], str]:
        """Return the shape of a variable, and NumPy's name of its dtype."""


class Passes(Protocol):
    """The forward passes of one model, with the state that is carried from each to the next.

    The model is unchanged after every pass, whether or not it succeeded.
    """

    @property
    def eager_because(self) -> str | None:
        """Why no pass could be traced."""

    @property
    def cost(self) -> int | None:
        """The estimated cost of a pass per sample; ``None`` if only a pass tells it."""

    @property
    def sample_bytes(self) -> int | None:
        """The size of the largest result of a pass per sample; ``None`` if it is not known."""

    @property
    def fixed_axes(self) -> frozenset[int]:
        """Positions of the tensors whose first axis has a length fixed by the model's code."""

    @property
    def carries_state(self) -> bool:
        """Whether the last pass changed a value that the next pass reads."""

    @property
    def varies(self) -> bool:
        """Whether showing a batch twice may give different values."""

    @property
    def draws_outside(self) -> bool:
        """Whether a random stream outside the model changes its values."""

    def run(self, batch: Shown) -> tuple[Inventory, list[np.ndarray]]:
        """Show a batch; return what the pass has, and the values of the kept tensors in order.

        Raises
        ------
        InputError
            If an index of the inputs lies outside an embedding.
        CallError
            If the model cannot be called on it; names the layer where it failed.
        """

    def held(self, batch: Shown) -> Shown:
        """Return a batch in the memory of the framework, to show it or parts of it often."""

    def refresh(self) -> None:
        """Begin the next pass with the model's current state; the carried state is discarded."""

    def rewind(self) -> None:
        """Begin the next pass with the state that the model had at the last `refresh`."""

    def aside(self) -> AbstractContextManager[None]:
        """Show batches inside the scope without affecting later ones."""


class Targets(Protocol):
    """The targets of a loss."""

    def of(self, batch: Batch, row: int = 0) -> np.ndarray:
        """Return the targets of a batch that starts at a row, of shape (sample, ...)."""


class Library(Protocol):
    """The functions of a library of models that a capture uses: a module that has all of them."""

    # Models

    def name_of(self, model: Any) -> str:
        """Return the name of a model."""

    def input_specs(self, model: Any) -> tuple[InputSpec, ...]:
        """Return the inputs that a model declares; empty if they are known only by calling it."""

    def picture_layout(self, model: Any) -> Layout | None:
        """Return the layout in which a model takes pictures; ``None``: what its inputs tell."""

    def set_seed(self, seed: int) -> None:
        """Draw the weights of models that are built next from a seed."""

    def weights_of(self, model: Any) -> list[Any]:
        """Return all variables of a model that belong to its state, in the library's order."""

    def value_of(self, variable: Any) -> np.ndarray:
        """Return a copy of the value of a variable."""

    def count_parameters(self, model: Any) -> int:
        """Return the number of values of all weights of a model."""

    def number_types(self, model: Any, probe: Probe) -> tuple[InputSpec, ...]:
        """Return the inputs of a probe in the dtypes to which the model casts them, if known."""

    def unrounded(self, model: Any) -> Any:
        """Return a model with real numbers in place of its integers; ``None`` if there is none.

        It has the same layers and weights, but rounds no activation to an integer.
        """

    def fixed_batch(self, model: Any) -> int | None:
        """Return the batch size that a model's inputs require, if they have one."""

    def has_states(self, model: Any) -> bool:
        """Return whether layers of a model keep a state for each position in a batch."""

    def named_loss(self, class_name: str, arguments: Mapping[str, Any]) -> Any:
        """Return the loss that a configuration names; ``None``: the model was compiled with it.

        Raises
        ------
        InputError
            If it is no loss for models of this library.
        """

    def targets_of(self, model: Any, probe: Probe, inputs: Any, loss: Any) -> Targets:
        """Return the targets of the loss with which gradients are computed.

        Parameters
        ----------
        model
            The model.
        probe
            Probe with the samples.
        inputs
            The inputs of its first batch.
        loss
            The loss; ``None`` for the model's own.
        """

    def total_loss(self, model: Any, loss: Any, targets: np.ndarray, output: np.ndarray) -> float:
        """Return the sum of the losses of all samples.

        Parameters
        ----------
        model
            The model.
        loss
            The loss; ``None`` for the model's own.
        targets, output
            Shape (sample, ...), as `targets_of` gives them, and as the model returned it.
        """

    # Passes

    def lanes(self) -> int:
        """Return the rows that matrix products compute side by side (see the engines)."""

    def exact(self) -> AbstractContextManager[None]:
        """Compute values in the scope that do not depend on which others are captured."""

    def passes_of(
        self,
        model: Any,
        batch: Shown,
        selection: Selection,
        *,
        training: bool,
        loss: Any,
        changes: Changes | None,
    ) -> Passes:
        """Prepare the forward passes of a model, given the first batch.

        Raises
        ------
        InputError
            If there are changes, and what models of this library compute cannot be changed.
        """

    def advice(self, error: CallError, model: Any, inputs: Any, rows: int | None) -> str:
        """Return advice about a first batch on which the model failed, or an empty text.

        Parameters
        ----------
        error
            The error that was raised.
        model, inputs
            The model, and that batch.
        rows
            Total number of samples, if known.
        """

    # Settings

    def read_backend(self, model: Any) -> Backend:
        """Return the settings of a model's computations."""


def has_fixed_batches(library: Library, model: Any) -> bool:
    """Return whether a model's tensors require batches of one size."""
    return library.has_states(model) or library.fixed_batch(model) is not None
