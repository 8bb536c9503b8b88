"""The forward passes of one module, with the state that is carried between them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils import _pytree

from runner.capture.batches import Shown
from runner.capture.call import Call
from runner.capture.changing import Changes, Changing
from runner.capture.inventory import Inventory
from runner.capture.selecting import Selecting
from runner.capture.selection import Selection
from runner.errors import CallError, InputError, RunError, RunnerError, first_line
from runner.patching import patched
from runner.torch_modules import tensors
from runner.torch_modules.earlier_calls import EarlierCalls, Observing, Place
from runner.torch_modules.keeping import Keeping, Key, key_of
from runner.torch_modules.module_calls import watch
from runner.torch_modules.module_changes import ChangedOfTorch
from runner.torch_modules.module_contents import Contents
from runner.torch_modules.module_gradients import Marked, total_loss
from runner.torch_modules.module_inventory import take_inventory
from runner.torch_modules.module_tree import parameters_in, unwrapped
from runner.torch_modules.pass_plan import Passed, Plan
from runner.torch_modules.repetition import Repetition
from runner.torch_modules.state import State
from runner.torch_modules.tensors import Values
from runner.torch_modules.writes import Operations

_one_at_a_time = threading.RLock()


class TorchPasses:
    """The forward passes of a module (see `runner.capture.model_library.Passes`).

    The module runs as it is, without gradients unless they are captured, in evaluation mode or in
    training mode. Its modules run as Python code: compiled ones are not compiled, and PyTorch's
    fused transformer layers call the modules inside them.

    Parameters
    ----------
    model
        The module.
    selection
        What to capture.
    training
        Whether it runs in training mode.
    loss
        The loss with which gradients are computed.
    changes
        What is done to the tensors that modules return.

    Raises
    ------
    InputError
        If modules of its kind cannot be captured.
    """

    eager_because: str | None = "PyTorch's modules run as Python code"
    cost: int | None = 0
    sample_bytes: int | None = None
    fixed_axes: frozenset[int] = frozenset()
    varies = True
    draws_outside = False

    def __init__(
        self,
        model: nn.Module,
        selection: Selection,
        *,
        training: bool,
        loss: Any,
        changes: Changes | None = None,
    ) -> None:
        _check(model, selection)
        self._model = unwrapped(model)
        self._selection = selection
        self._training = training
        self._loss = loss
        self._changes = changes
        self._state = State(self._model)
        self._copied: set[Key] = set()
        self._plan: Plan | None = None
        self._earlier = None if changes is None else EarlierCalls(changes)

    @property
    def carries_state(self) -> bool:
        """Whether the last pass changed a tensor or a random stream that the next pass reads."""
        return self._state.changed

    def refresh(self) -> None:
        """Begin the next pass with the module's current state."""
        self._state.carried = None

    rewind = refresh  # no pass changes the module

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Show batches inside the scope without affecting later ones."""
        carried = self._state.carried
        try:
            yield
        finally:
            self._state.carried = carried

    def held(self, batch: Shown) -> Shown:
        """Return a batch, so that passes over it with other patches begin where these are used."""
        return (
            batch
            if self._earlier is None
            else batch._replace(inputs=self._earlier.hold(batch.inputs))
        )

    def run(self, batch: Shown) -> tuple[Inventory, list[np.ndarray]]:
        """Show a batch; return what the pass has, and the values of the kept tensors in order."""
        earlier = self._earlier
        if earlier is None or not earlier.known_for(batch.inputs):
            return self._run(batch)
        found = None
        with contextlib.suppress(RunnerError):  # a real one is raised again by the whole pass
            found = self._run(batch)
        if found is not None and earlier.is_checked:
            return found
        known, earlier.returned = earlier.returned, {}
        whole = self._run(batch)
        if found is None or not _are_equal(found[1], whole[1]):
            earlier.give_up()
        else:
            earlier.returned, earlier.is_checked = known, True
        return whole

    def _run(self, batch: Shown) -> tuple[Inventory, list[np.ndarray]]:
        carried = self._state.carried
        while True:
            found = self._passed(batch)
            if found is not None:
                if self._earlier is not None and (carried or self._state.carried) is not None:
                    self._earlier.give_up()  # a pass changes what later calls may use
                inventory, values = found
                return inventory, tensors.as_arrays(values)
            self._state.carried = carried  # what was learned is used in another pass

    def _passed(self, batch: Shown) -> Passed | None:
        """Run a pass; return ``None`` if it showed that something has to be watched in another."""
        gradients = "gradient" in self._selection.kinds
        with _one_at_a_time, _explained(), torch.set_grad_enabled(gradients):
            present = self._state.present()
            repetition = None if self._plan is None else self._plan.repetition
            # A copy otherwise: a module may overwrite its input.
            shared = (
                repetition is not None
                and self._state.carried is None
                and repetition.overwrites_nothing(present)
            )
            given = present.placing.tensors(batch.inputs, shared=shared)
            one_pass = self._state.one_pass(
                present,
                _pytree.tree_leaves(given) if shared else (),
                training=self._training,
                describing=self._plan is None,
            )
            with one_pass as (operations, contents), _in_python(contents):
                if repetition is not None and repetition.contents is contents:
                    return self._repeated(given, operations, repetition)
                return self._observed(batch, given, operations, contents)

    def _repeated(
        self, given: Any, operations: Operations, repetition: Repetition
    ) -> Passed | None:
        assert self._plan is not None
        before = len(self._copied)
        try:
            kept = repetition.run(lambda: _called(self._model, given), self._copied, operations)
        except Exception:  # of any type: raised once more where all calls are watched
            kept = None
        if kept is not None:
            return self._plan.picked(kept, self._selection.dtype)
        if len(self._copied) == before:  # it called other modules
            self._plan = None
        return None

    def _observed(
        self, batch: Shown, given: Any, operations: Operations, contents: Contents
    ) -> Passed | None:
        """Run a pass in which every call is looked at."""
        selection, plan, values = self._selection, self._plan, Values(operations.origin_of)
        selecting = Selecting(selection, tensors.is_tensor) if plan is None else None
        keeping = Keeping(
            _selected_by(selecting) if plan is None else lambda _: plan.keys,
            inputs="input" in selection.kinds,
            copied=self._copied,
            existed=operations.existed,
        )
        marked = Marked(values) if "gradient" in selection.kinds else None
        changing = learning = None
        known: Mapping[Place, Any] = {}
        without: frozenset[str] = frozenset()
        if self._earlier is not None and self._changes is not None:
            known = self._earlier.known_for(batch.inputs)
            without = self._earlier.inside if known else frozenset()
            learning = self._earlier.observer(batch.inputs)
            patches = batch.patches and contents.placing.tensors(batch.patches)
            changing = Changing(self._changes, patches, ChangedOfTorch(values))
        around = [changing, selecting, keeping]
        if self._changes is not None and self._changes.recorded == "before":
            around = [selecting, keeping, changing]
        observers = [each for each in (learning, *around, marked) if each is not None]
        calls, returned = watch(lambda: _called(self._model, given), values, observers, known)
        if marked is not None:
            targets = contents.placing.tensors(batch.targets)
            marked.set_gradients(total_loss(self._loss, targets, returned))
        if overwritten := keeping.overwritten():
            self._copied |= overwritten
            return None
        with torch.no_grad():
            if plan is not None:
                found = plan.values(calls, keeping.values, selection.dtype, without)
                if found is None and known:
                    raise RunError("calls that were not made again have changed the others")
                if found is None:  # it called other modules
                    self._plan = None
                else:
                    self._repeat(calls, contents)
                    self._learn(learning, calls)
                return found
            assert selecting is not None
            taking = take_inventory(
                self._model, calls, selection, selecting, operations.origin_of, batch.samples
            )
            self._plan = Plan(selection, taking, calls)
            self._repeat(calls, contents)
            self._learn(learning, calls)
            return taking.inventory, taking.values

    def _learn(self, learning: Observing | None, calls: list[Call]) -> None:
        if learning is not None and self._earlier is not None and self._plan is not None:
            self._earlier.learn(learning, calls, self._plan.keys)

    def _repeat(self, calls: list[Call], contents: Contents) -> None:
        """Repeat this pass from now on: if nothing is changed, which takes the records of calls."""
        if self._plan is not None and self._changes is None:
            self._plan.repeat(calls, contents)


def _selected_by(selecting: Selecting | None) -> Callable[[Call], set[Key]]:
    """Return a function that returns the selected tensors of a call."""
    assert selecting is not None
    return lambda call: {key_of(found.spec) for found in selecting.of(call) if found.kept}


def _called(model: nn.Module, inputs: Any) -> Any:
    """Call a module: a mapping holds keyword arguments, a list positional ones."""
    if isinstance(inputs, dict):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, list) else model(inputs)


def _are_equal(some: list[np.ndarray], others: list[np.ndarray]) -> bool:
    """Return whether arrays are equal, bit for bit."""
    pairs = zip(some, others, strict=True)
    return all(one.tobytes() == other.tobytes() for one, other in pairs)


def _check(model: nn.Module, selection: Selection) -> None:
    if isinstance(unwrapped(model), torch.jit.ScriptModule):
        raise InputError.of(
            "model",
            f"{type(model).__name__} is scripted: it runs outside Python, where its modules "
            "cannot be seen",
            "pass the module that it was made from",
        )
    if any(isinstance(one, nn.parameter.UninitializedTensorMixin) for one in parameters_in(model)):
        raise InputError.of(
            "model",
            "it has lazy modules, whose weights do not exist yet",
            "call it once on a batch before",
        )
    if any(variable.is_meta for variable in parameters_in(model)):
        raise InputError.of(
            "model", "its weights are on the device meta, and have no values", "load them before"
        )
    if "pre_activation" in selection.kinds:
        raise InputError.of(
            "capture.kinds",
            "pre_activation is for Keras layers; an activation function of PyTorch is a module",
            "capture the kind input of that module",
        )


@contextlib.contextmanager
def _in_python(contents: Contents) -> Iterator[None]:
    """Let all modules run as Python code: compiled ones, and PyTorch's transformer layers.

    These call the modules inside them where a hook is attached.
    """
    with contextlib.ExitStack() as stack:
        for layer in contents.fused:
            stack.callback(layer.register_forward_pre_hook(lambda *_: None).remove)
        for module in contents.compiled:
            stack.enter_context(patched(module, _compiled_call_impl=None))
        stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Raise an error of one line that names the cause of a failed forward pass, and the module."""
    try:
        yield
    except RunnerError:
        raise
    except Exception as error:
        where = " ".join(getattr(error, "__notes__", []))
        raise CallError(
            f"the model cannot be called on the probe{where and f' ({where})'}: {first_line(error)}"
        ) from error
