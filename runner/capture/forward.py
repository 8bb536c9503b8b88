"""One forward pass over a model: its calls, the kept tensors, and the changed variables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from runner.capture.batches import Shown
from runner.capture.calls import Call, watch
from runner.capture.cost import cost_of
from runner.capture.gradients import watch_with_gradients
from runner.capture.inventory import Inventory
from runner.capture.losses import total_loss
from runner.capture.pre_activations import PreActivations
from runner.capture.selecting import Selecting
from runner.capture.selection import Selection
from runner.capture.stocktaking import take_inventory
from runner.engines.engine import Pass


@dataclass(frozen=True, eq=False)
class Found:
    """What is known of a pass besides the values.

    Attributes
    ----------
    inventory
        The layers and tensors of the pass.
    assigned
        Variables other than the given ones that would have been assigned, with new values.
    cost
        The estimated cost of the pass (see `runner.capture.cost`).
    """

    inventory: Inventory
    assigned: list[tuple[keras.Variable, Any]]
    cost: int


@dataclass(frozen=True)
class Forward:
    """The forward pass of a model; does not assign Keras's variables.

    Attributes
    ----------
    model
        Any Keras model that is built.
    selection
        The tensors to return.
    training
        Whether the layers run as in training.
    rows
        The number of samples in the first batch.
    """

    model: keras.Model
    selection: Selection
    training: bool
    rows: int

    def __call__(
        self, variables: Sequence[keras.Variable], values: Sequence[Any], batch: Shown
    ) -> Pass[Found]:
        """Run the model once.

        Parameters
        ----------
        variables, values
            The model's variables, and the values that they have in this pass.
        batch
            The inputs, and the targets, which only gradients need.
        """
        state = list(zip(variables, values, strict=True))
        with _Scope(state, collect_losses=True) as scope:
            selecting = Selecting(self.selection)
            calls = self._calls(batch, selecting)
            taken = take_inventory(self.model, calls, self.selection, selecting, self.rows)
        after = [scope.get_current_value(variable) for variable in variables]
        updates = {place: value for place, value in enumerate(after) if value is not values[place]}
        known = {id(variable) for variable in variables}
        assigned = [
            (variable, scope.get_current_value(variable))
            for key, variable in scope.assigned.items()
            if key not in known
        ]
        inventory, tensors, refused = taken
        return Pass(tensors, updates, Found(inventory, assigned, cost_of(calls)), refused)

    def _calls(self, batch: Shown, selecting: Selecting) -> list[Call]:
        """Run the model and return every call in it, with what the selected kinds need."""
        kinds = self.selection.kinds
        before = [PreActivations()] if "pre_activation" in kinds else []

        def forward() -> Any:
            return self.model(batch.inputs, training=self.training)

        if "gradient" not in kinds:
            return watch(forward, [*before, selecting])
        return watch_with_gradients(
            forward,
            before,
            [selecting],
            lambda output: total_loss(self.model.loss, batch.targets, output),
        )


class _Scope(keras.StatelessScope):  # type: ignore[misc]
    """Records which variables would have been assigned."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.assigned: dict[int, keras.Variable] = {}

    def add_update(self, update: Any) -> None:
        self.assigned[id(update[0])] = update[0]
        super().add_update(update)
