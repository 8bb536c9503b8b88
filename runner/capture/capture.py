"""What every layer of a model puts out for the inputs shown to it."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from runner.capture.batches import LANES, alike, count_samples, has_fixed_batches
from runner.capture.calls import watch
from runner.capture.gradients import Gradients
from runner.capture.inventory import Inventory, Layer, value_of
from runner.capture.losses import total_loss
from runner.capture.pre_activations import PreActivations
from runner.capture.selection import Selection
from runner.capture.stocktaking import take_inventory
from runner.errors import InputError, RunError
from runner.tensors import TensorSpec


class Capture:
    """A model made ready to give up every layer's output, batch by batch.

    The forward pass is traced once into a TensorFlow function that returns all chosen
    tensors; where it cannot be traced it runs eagerly. Variables enter as arguments and
    nothing is assigned, so the model is left as it was; what its layers update with
    ``training=True`` is carried from batch to batch here.

    Parameters
    ----------
    model
        Any Keras model. One that is not built yet is built by calling it on `inputs`.
    inputs
        The first batch, as the model is called: an array of shape (sample, ...), or a
        list or mapping of such. Later batches must have the same shapes.
    selection
        What to keep; everything of the default kinds if not given.
    training
        Whether the layers run as in training.
    targets
        What the model's loss compares its output with, shape (sample, ...); needed for
        gradients.

    Attributes
    ----------
    tensors : tuple[TensorSpec, ...]
        What is captured per sample, in call order.
    weights : tuple[tuple[TensorSpec, keras.Variable], ...]
        The chosen weights of every layer, in call order.
    aliases : tuple[tuple[TensorSpec, TensorSpec], ...]
        Chosen tensors that are the very same as one of `tensors` or `weights`, each
        with that one.
    layers : tuple[Layer, ...]
        Every layer of the model in call order, those never called last.
    first : list[numpy.ndarray]
        The values for the first batch, in the order of `tensors`.
    outputs : tuple[str, ...]
        Names of the activations that the model itself returns.
    plain_variables : tuple[tf.Variable, ...]
        Variables of the layers that are no weights of Keras.
    eager_because : str or None
        Why the forward pass could not be traced.

    Raises
    ------
    InputError
        If a pattern of the selection matches no layer, or an index of the inputs lies
        outside an embedding.
    RunError
        If the model cannot be called on the inputs; names the layer where it failed.
    """

    def __init__(
        self,
        model: keras.Model,
        inputs: Any,
        selection: Selection | None = None,
        *,
        training: bool = False,
        targets: np.ndarray | None = None,
    ) -> None:
        self._model = model
        self._selection = selection or Selection()
        self._training = training
        _build(model, inputs)
        rows = count_samples(inputs)
        self._fixed = rows if has_fixed_batches(model) else None
        self._variables: list[keras.Variable] = model.variables
        self._values: list[Any]
        self.refresh()
        self._changing: list[int] = []
        self._inventory = Inventory()
        self._expected: list[tuple[str, str]] | None = None
        self._function, self.eager_because = self._trace(inputs, targets)
        arrays = self._run(inputs, targets)
        found = self._inventory
        self._expected = [(spec.kind, spec.name) for spec in found.tensors]
        self._selection.check(found.candidates, found.refused)
        specs = {
            place: dataclasses.replace(spec, shape=array.shape[1:], dtype=array.dtype.name)
            for place, (spec, array) in enumerate(zip(found.tensors, arrays, strict=True))
            if array.shape[:1] == (rows,)
        }
        for place in range(len(found.tensors)):
            if place not in specs:
                shape = arrays[place].shape
                found.leave_out(place, f"no sample axis: {rows} samples gave an output of {shape}")
        self._places = list(specs)
        self.first = [arrays[place] for place in self._places]
        self.tensors: tuple[TensorSpec, ...] = tuple(specs.values())
        self.weights: tuple[tuple[TensorSpec, keras.Variable], ...] = tuple(found.weights)
        shaped = [
            (
                dataclasses.replace(alias, shape=specs[place].shape, dtype=specs[place].dtype),
                specs[place],
            )
            for alias, place in found.aliases
            if place in specs
        ]
        self.aliases: tuple[tuple[TensorSpec, TensorSpec], ...] = (*shaped, *found.weight_aliases)
        self.layers: tuple[Layer, ...] = tuple(found.layers.values())
        self.outputs = found.outputs
        self.plain_variables = tuple(found.plain_variables)

    def __call__(self, inputs: Any, targets: np.ndarray | None = None) -> list[np.ndarray]:
        """Show the model one more batch.

        Parameters
        ----------
        inputs, targets
            As the first batch.

        Returns
        -------
        list[numpy.ndarray]
            The values of `tensors`, each of shape (sample, ...): views of TensorFlow's
            memory, not to be written to.

        Raises
        ------
        RunError
            If the model fails, or a layer puts out another shape than for the first batch.
        """
        arrays = self._chosen(inputs, targets)
        for spec, array in zip(self.tensors, arrays, strict=True):
            if array.shape[1:] != spec.shape:
                raise RunError(
                    f"'{spec.name}' has the shape {array.shape[1:]} for a sample of this batch, "
                    f"and had {spec.shape} for the first: all must be alike to make one table"
                )
        return arrays

    def mixed_by(self, inputs: Any, targets: np.ndarray | None = None) -> str | None:
        """Name what makes a sample's values depend on the samples that it is shown with.

        The first sample is shown in a batch of itself alone, and its values are held to those
        it had in the first batch; values that differ each time, being drawn, say nothing. No
        state that is carried from batch to batch moves.

        Parameters
        ----------
        inputs, targets
            The first batch again.

        Returns
        -------
        str or None
            Name of the first of `tensors` with other values than those of rounding;
            ``None`` if there is none.
        """
        size = LANES if count_samples(inputs) != LANES else 2 * LANES
        alone = keras.tree.map_structure(
            lambda array: None if array is None else np.repeat(array[:1], size, axis=0),
            (inputs, targets),
        )
        carried = self._values
        try:
            found = self._anew(alone)
            places = [i for i in range(len(found)) if not alike(self.first[i][0], found[i][0])]
            if places:
                again = self._anew(alone)
                places = [i for i in places if alike(found[i][0], again[i][0])]
        except RunError:  # the size of a batch, or what else is in it, decides on the way taken
            return str(self._model.name)
        finally:
            self._values = carried
        return self.tensors[places[0]].name if places else None

    @property
    def draws_outside(self) -> bool:
        """Whether a random stream that is no part of the model changes its values."""
        return len(self._variables) > len(self._model.variables)

    def refresh(self) -> None:
        """Take the model's variables as they are now; what was carried here is given up."""
        self._values = [tf.convert_to_tensor(variable.value) for variable in self._variables]

    def _anew(self, batch: Any) -> list[np.ndarray]:
        self.refresh()
        return self._chosen(*batch)

    def _chosen(self, inputs: Any, targets: np.ndarray | None) -> list[np.ndarray]:
        arrays = self._run(inputs, targets)
        return [arrays[place] for place in self._places]

    def _trace(
        self, inputs: Any, targets: np.ndarray | None
    ) -> tuple[Callable[..., Any], str | None]:
        signature = keras.tree.map_structure(
            lambda array: (
                None if array is None else tf.TensorSpec((None, *array.shape[1:]), array.dtype)
            ),
            (inputs, targets),
        )
        function = tf.function(self._forward, autograph=False)
        try:
            traced = function.get_concrete_function(self._values, *signature)
            if len(self._values) < len(self._variables):  # it drew from a stream of Keras's own
                self.refresh()
                traced = function.get_concrete_function(self._values, *signature)
        except Exception as error:  # a model may raise anything; one that is real comes again
            return self._forward, _in_one_line(error)
        else:
            return traced, None

    def _forward(self, values: list[Any], inputs: Any, targets: Any) -> tuple[list[Any], list[Any]]:
        """Return the chosen tensors, and the new values of the variables that change."""
        state = list(zip(self._variables, values, strict=False))
        kinds = self._selection.kinds
        tape = tf.GradientTape(watch_accessed_variables=False) if "gradient" in kinds else None
        gradients = None if tape is None else Gradients(tape)
        observers = [PreActivations()] if "pre_activation" in kinds else []
        with _Scope(state, collect_losses=True) as scope:
            with tape or contextlib.nullcontext():
                calls = watch(
                    lambda: self._model(inputs, training=self._training),
                    [*observers, *([] if gradients is None else [gradients])],
                )
                if gradients is not None:
                    loss = total_loss(self._model.loss, targets, gradients.output)
            if gradients is not None:
                gradients.add(loss)
            self._inventory, tensors = take_inventory(
                self._model, calls, self._selection, self._fixed
            )
        after = [scope.get_current_value(v) for v in self._variables[: len(values)]]
        self._changing = [i for i, value in enumerate(after) if value is not values[i]]
        known = {id(variable) for variable in self._variables}
        self._variables += [v for key, v in scope.assigned.items() if key not in known]
        return tensors, [after[i] for i in self._changing]

    def _run(self, inputs: Any, targets: np.ndarray | None) -> list[np.ndarray]:
        with unfused(), _explained():
            tensors, changed = self._function(
                self._values,
                *keras.tree.map_structure(
                    lambda array: None if array is None else tf.convert_to_tensor(array),
                    (inputs, targets),
                ),
            )
        found = [(spec.kind, spec.name) for spec in self._inventory.tensors]
        if self._expected is not None and found != self._expected:
            raise RunError(
                "the model took another way through its layers than for the first batch: "
                + ", ".join(sorted({name for _, name in {*found} ^ {*self._expected}}))
            )
        for place, value in zip(self._changing, changed, strict=True):
            self._values[place] = value
        return [_as_array(tensor) for tensor in tensors]


class _Scope(keras.StatelessScope):  # type: ignore[misc]
    """Remembers which variables would have been assigned."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.assigned: dict[int, keras.Variable] = {}

    def add_update(self, update: Any) -> None:
        self.assigned[id(update[0])] = update[0]
        super().add_update(update)


# What in TensorFlow's optimizer changes arithmetic, depending on which tensors are asked for:
# x * a * b becomes x * (a * b) unless x * a is wanted too.
_REWRITES = ("remapping", "arithmetic_optimization", "constant_folding")
_rewriting = ContextVar("_rewriting", default=True)


@contextlib.contextmanager
def unfused() -> Iterator[None]:
    """Keep TensorFlow from fusing operations of different layers inside the scope.

    Which ones it fuses depends on which tensors are asked for, and a fused operation
    rounds differently: without this, a value would depend on what else is captured.
    `Capture` enters it for every batch; enter it once around many to save the switching.
    """
    if not _rewriting.get():
        yield
        return
    options = tf.config.optimizer
    found = options.get_experimental_options()
    before = {name: found.get(name, True) for name in _REWRITES}
    options.set_experimental_options(dict.fromkeys(_REWRITES, False))
    token = _rewriting.set(False)
    try:
        yield
    finally:
        _rewriting.reset(token)
        options.set_experimental_options(before)


def _build(model: keras.Model, inputs: Any) -> None:
    """Build what is not built by one call on the inputs, leaving what is as it was."""
    if all(layer.built for layer in model._flatten_layers()):
        return
    before = {id(layer) for layer in model._flatten_layers() if layer.built}
    state = [v for layer in model._flatten_layers() for v in layer.metrics_variables]
    values = [(variable, value_of(variable)) for variable in (*model.variables, *state)]
    with _explained():
        model(inputs, training=False)
    for variable, value in values:
        variable.assign(value)
    for layer in model._flatten_layers():  # states made by this call, and already moved on
        if id(layer) not in before and getattr(layer, "stateful", False):
            layer.reset_state()


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Say in one line what made a forward pass fail, and in which layer."""
    try:
        yield
    except Exception as error:
        text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
        index = re.search(r"indices\[.*?\] = (-?\d+) is not in \[(\d+), (\d+)\)", text)
        if index:
            found, low, high = index.groups()
            raise InputError.of(
                "probe", f"index {found} is outside an embedding of {low} to {int(high) - 1}"
            ) from error
        where = " ".join(getattr(error, "__notes__", []))
        raise RunError(
            f"the model cannot be called on the probe{where and f' ({where})'}: "
            f"{_in_one_line(error)}"
        ) from error


def _in_one_line(error: Exception) -> str:
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip() or type(error).__name__
    if "\n\t [[" in text:  # a graph tells where its code stood, first
        text = text.partition("\n\t [[")[0].rpartition("\n")[2]
    # Keras says where around what: the one is told beside this, the other is long.
    text = re.sub(r"^(Exception encountered when calling \S+\.call\(\)\.\s+)+", "", text)
    for rest in ("\n\nArguments received by ", "\n\t; NodeDef: "):
        text = text.partition(rest)[0]
    text = " ".join(text.split())
    return text if len(text) <= 300 else f"{text[:297]}..."


def _as_array(tensor: Any) -> np.ndarray:
    if np.dtype(tensor.dtype.as_numpy_dtype).isbuiltin != 1:  # bfloat16, float8: no buffer has it
        return np.asarray(tensor.numpy())
    return np.asarray(memoryview(tensor))
