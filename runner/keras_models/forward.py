"""One forward pass over a model: its calls, the kept tensors, and the changed variables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from runner.capture.batches import Shown
from runner.capture.call import Call, Observer
from runner.capture.changing import Changes, Changing
from runner.capture.inventory import Inventory
from runner.capture.selecting import Selecting
from runner.capture.selection import Selection
from runner.engines.engine import Pass
from runner.keras_models import tensors
from runner.keras_models.calls import watch
from runner.keras_models.cost import cost_of
from runner.keras_models.gradients import watch_with_gradients
from runner.keras_models.keras_inventory import take_inventory
from runner.keras_models.known_pass import KnownPass
from runner.keras_models.losses import total_loss
from runner.keras_models.pre_activations import PreActivations
from runner.keras_models.replaced_tensors import ChangedOfKeras


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
        The estimated cost of the pass (see `runner.keras_models.cost`).
    known
        What later passes with the same calls have in common with it; ``None`` with gradients.
    """

    inventory: Inventory
    assigned: list[tuple[keras.Variable, Any]]
    cost: int
    known: KnownPass | None = None


@dataclass(frozen=True)
class Forward:
    """The forward pass of a model; does not assign Keras's variables.

    Attributes
    ----------
    model
        Any Keras model; built when the pass runs.
    selection
        The tensors to return.
    training
        Whether the layers run as in training.
    rows
        The number of samples in the first batch.
    loss
        The loss with which gradients are computed; ``None`` for the model's own.
    changes
        What is done to the tensors that calls return.
    """

    model: keras.Model
    selection: Selection
    training: bool
    rows: int
    loss: Any = None
    changes: Changes | None = None

    def __call__(
        self,
        variables: Sequence[keras.Variable],
        values: Sequence[Any],
        batch: Shown,
        known: KnownPass | None = None,
    ) -> Pass[Found]:
        """Run the model once.

        Parameters
        ----------
        variables, values
            The model's variables, and the values that they have in this pass.
        batch
            The inputs, and the targets, which only gradients need.
        known
            An earlier pass, which this one may be like.
        """
        state = list(zip(variables, values, strict=True))
        with _Scope(state, collect_losses=True) as scope:
            selecting = Selecting(self.selection, tensors.is_tensor)
            observers = [selecting] if known is None else []
            calls = self._calls(batch, observers, lambda: _Scope(state, collect_losses=True))
            kept = None if known is None else known.values(calls)
            refused: list[Any] = []
            if known is None or kept is None:
                for call in () if known is None else calls:
                    selecting.ended(call, None)
                known, kept, refused = self._taken(calls, selecting)
        after = [scope.get_current_value(variable) for variable in variables]
        updates = {place: value for place, value in enumerate(after) if value is not values[place]}
        given = {id(variable) for variable in variables}
        assigned = [
            (variable, scope.get_current_value(variable))
            for key, variable in scope.assigned.items()
            if key not in given
        ]
        found = Found(known.inventory, assigned, known.cost, known if self._is_repeated else None)
        return Pass(kept, updates, found, refused)

    @property
    def _is_repeated(self) -> bool:
        return "gradient" not in self.selection.kinds

    def _taken(
        self, calls: list[Call], selecting: Selecting
    ) -> tuple[KnownPass, list[Any], list[Any]]:
        """Take stock of a pass; return it, its kept tensors in order, and those without a table."""
        taking = take_inventory(self.model, calls, self.selection, selecting, self.rows)
        known = KnownPass(calls, taking, self.selection, self.rows, cost_of(calls))
        return known, taking.values, taking.refused

    def _calls(
        self, batch: Shown, selecting: Sequence[Selecting], afresh: Callable[[], _Scope]
    ) -> list[Call]:
        """Run the model and return every call in it, with what the selected kinds need."""
        kinds = self.selection.kinds
        before: list[Observer] = [PreActivations()] if "pre_activation" in kinds else []

        def changing() -> list[Observer]:
            if self.changes is None:
                return []
            return [Changing(self.changes, batch.patches, ChangedOfKeras())]

        def forward() -> Any:
            return self.model(batch.inputs, training=self.training)

        if "gradient" not in kinds:
            around = [*changing(), *selecting]
            if self.changes is not None and self.changes.recorded == "before":
                around.reverse()
            return watch(forward, [*before, *around])
        loss = self.model.loss if self.loss is None else self.loss
        return watch_with_gradients(
            forward,
            before,
            changing,
            selecting,
            lambda output: total_loss(loss, batch.targets, output),
            afresh,
        )


class _Scope(keras.StatelessScope):  # type: ignore[misc]
    """Records which variables would have been assigned."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.assigned: dict[int, keras.Variable] = {}

    def add_update(self, update: Any) -> None:
        self.assigned[id(update[0])] = update[0]
        super().add_update(update)
