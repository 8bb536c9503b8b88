"""What Runner uses of Keras beyond its public interface: all its private names stand here."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras.src.backend.common import global_state
from keras.src.backend.common.symbolic_scope import in_symbolic_scope
from keras.src.backend.common.tensor_attributes import get_tensor_attr, set_tensor_attr
from keras.src.utils import module_utils
from keras.src.utils.tracking import Tracker

from runner.errors import RunnerError
from runner.patching import patched

TRACKERS: tuple[type, ...] = (Tracker,)
"""The objects in which a layer lists its variables and sublayers."""

_GENERATOR = "global_seed_generator"
_NAMES = "object_name_uids"
_SCOPES = "name_scope_stack"

# Keras rewrites the message of an error that passes through a layer, unless it has this attribute.
RunnerError._keras_call_info_injected = True  # type: ignore[attr-defined]


def leave_out_tensorflow() -> None:
    """Let Keras, on another framework, do without TensorFlow: it would import it to ask for types.

    Does nothing on TensorFlow, and where Keras has imported it already.
    """
    if keras.backend.backend() != "tensorflow" and module_utils.tensorflow.module is None:
        module_utils.tensorflow._available = False


@contextlib.contextmanager
def without_tensorflow() -> Iterator[None]:
    """Let Keras do without TensorFlow inside the scope, as in `leave_out_tensorflow`."""
    before = module_utils.tensorflow._available
    leave_out_tensorflow()
    try:
        yield
    finally:
        module_utils.tensorflow._available = before


def all_layers(model: Any) -> list[Any]:
    """Return a model or layer with all layers below it; empty for another object."""
    return list(model._flatten_layers()) if hasattr(model, "_flatten_layers") else []


def nodes_of(model: Any) -> list[Any]:
    """Return the layers and operations that the graph of a model calls, once for each call.

    Those of other models than Functional and Sequential ones are not known.
    """
    graph = getattr(model, "_functional", None) or model
    levels = getattr(graph, "_nodes_by_depth", {}).values()
    return [node.operation for nodes in levels for node in nodes if not node.is_input]


def sublayers(layer: Any) -> list[Any]:
    """Return the direct sublayers of a layer; empty for another object."""
    if not hasattr(layer, "_flatten_layers"):
        return []
    return list(layer._flatten_layers(include_self=False, recursive=False))


def mark_as_called(model: Any) -> None:
    """Let Keras export a model that was built, and never called: its inputs are known."""
    if model.built:
        model._called = True


def is_of_keras(cls: type) -> bool:
    """Return whether a class is one of Keras's own."""
    return cls.__module__.startswith("keras.")


def is_own_layer(cls: type) -> bool:
    """Return whether a class is one of Keras's own layers."""
    return cls.__module__.startswith(("keras.src.layers.", "keras.layers."))


def is_own_operation(cls: type) -> bool:
    """Return whether a class is the operation of a function of ``keras.ops``."""
    return cls.__module__.startswith("keras.src.ops.")


def is_inferring(tensors: Iterator[Any]) -> bool:
    """Return whether a call with these arguments infers shapes only, as when a layer is built."""
    return in_symbolic_scope() or any(isinstance(one, keras.KerasTensor) for one in tensors)


def mask_of(tensor: Any) -> Any:
    """Return the mask that Keras attached to a tensor, or ``None``."""
    return get_tensor_attr(tensor, "_keras_mask")


def has_logits(tensor: Any) -> bool:
    """Return whether Keras attached to a tensor the logits that a loss takes in its place."""
    return hasattr(tensor, "_keras_logits")


def copy_notes(tensor: Any, other: Any) -> None:
    """Attach to a tensor what Keras attached to another one: its mask and its logits."""
    for name in ("_keras_mask", "_keras_logits"):
        if (value := get_tensor_attr(other, name)) is not None:
            set_tensor_attr(tensor, name, value)


def copy_mask(tensor: Any, other: Any) -> None:
    """Attach to a tensor the mask that Keras attached to another one."""
    if (mask := get_tensor_attr(other, "_keras_mask")) is not None:
        set_tensor_attr(tensor, "_keras_mask", mask)


SEED_STATE = "seed_generator_state"
"""Name that Keras gives to the variables of its random streams."""


def value_inside(variable: Any) -> Any:
    """Return the backend's own variable inside a Keras variable; ``None`` if there is none."""
    return getattr(variable, "_value", None)


@contextlib.contextmanager
def watching_new_variables(note: Callable[[Any, Any, Any, Any], Any]) -> Iterator[None]:
    """Call a function for each Keras variable created in the scope, before it is created.

    Parameters
    ----------
    note
        Called with the variable, its initializer (the object that makes the values, or the
        values), its shape and its dtype. The variable is not created if it raises. What it
        returns, unless ``None``, is used in place of the initializer.
    """
    # Layers use a base class of keras.Variable in some versions: both use this constructor.
    [*_, owner] = [
        kind for kind in keras.Variable.__mro__ if is_of_keras(kind) and "__init__" in vars(kind)
    ]
    create = owner.__init__

    def noted(
        variable: Any, initializer: Any, shape: Any = None, dtype: Any = None, **others: Any
    ) -> None:
        if isinstance(initializer, str):
            initializer = keras.initializers.get(initializer)
        instead = note(variable, initializer, shape, dtype)
        create(variable, initializer if instead is None else instead, shape, dtype, **others)

    with patched(owner, __init__=noted):
        yield


@contextlib.contextmanager
def watching_symbolic_calls(note: Callable[[Any, Any], None]) -> Iterator[None]:
    """Call a function after each layer or operation inferred its outputs in the scope.

    Parameters
    ----------
    note
        Called with the layer or operation and its outputs, which have shapes and no values.
    """
    with contextlib.ExitStack() as stack:
        for owner in (keras.Operation, keras.Layer):
            stack.enter_context(patched(owner, symbolic_call=_noting(owner.symbolic_call, note)))
        yield


def _noting(infer: Callable[..., Any], note: Callable[[Any, Any], None]) -> Callable[..., Any]:
    def noted(operation: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = infer(operation, *args, **kwargs)
        note(operation, outputs)
        return outputs

    return noted


@contextlib.contextmanager
def watching_builds(began: Callable[[], Any], ended: Callable[[Any, Any], None]) -> Iterator[None]:
    """Call functions before and after a layer is built by its own ``build`` in the scope.

    Parameters
    ----------
    began
        Called before a layer may be built.
    ended
        Called with a layer that was built, and with what `began` returned before that.
    """
    build = keras.Layer._maybe_build

    def maybe_build(layer: Any, *arguments: Any) -> None:
        was_built, before = layer.built, began()
        build(layer, *arguments)
        if layer.built and not was_built and not getattr(layer.build, "_is_default", False):
            ended(layer, before)

    with patched(keras.Layer, _maybe_build=maybe_build):
        yield


def has_seed(initializer: Any) -> bool:
    """Return whether an initializer is one of Keras's that draws from a seed."""
    return hasattr(initializer, "_init_seed")


def is_seeded(initializer: Any) -> bool:
    """Return whether an initializer with a seed was given it, so that Keras did not choose it."""
    return initializer._init_seed is not None


def unseeded_streams(model: Any) -> list[Any]:
    """Return the random streams of a model's layers whose seeds Keras chose."""
    return [
        stream
        for layer in all_layers(model)
        for stream in getattr(layer, "_seed_generators", ())
        if stream._initial_seed is None
    ]


@contextlib.contextmanager
def initializers_drawing_from(draws: Any) -> Iterator[None]:
    """Let Keras's initializers use the functions of `draws` in place of its random module.

    They call their draws through this one name of their module, so that the rest of an
    initializer's computation is unchanged.
    """
    module: Any = sys.modules[keras.initializers.RandomUniform.__module__]
    with patched(module, random=draws):
        yield


def global_generator() -> Any:
    """Return the generator that Keras uses without a seed; ``None`` before its first use."""
    return global_state.get_global_attribute(_GENERATOR)


def use_global_generator(generator: Any) -> None:
    """Set the generator that Keras uses without a seed."""
    global_state.set_global_attribute(_GENERATOR, generator)


class NameCounters:
    """The state of Keras's automatic names at one moment: its counters and open scopes."""

    def __init__(self) -> None:
        self._scopes = list(global_state.get_global_attribute(_SCOPES) or ())
        self._names = dict(global_state.get_global_attribute(_NAMES) or {})

    def put_back(self, *, names: bool = True) -> None:
        """Restore the open scopes, which a failed pass may have left open, and the counters.

        Parameters
        ----------
        names
            Whether to restore the counters: not after a call that made layers which stay.
        """
        scopes = global_state.get_global_attribute(_SCOPES)
        if scopes is not None:
            scopes[:] = self._scopes
        found = global_state.get_global_attribute(_NAMES)
        if names and found is not None:
            found.clear()
            found.update(self._names)
