"""How far each layer of a model is from the values of a run, and how much of that it adds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from runner.capture.batches import Shown
from runner.capture.call import mapped
from runner.capture.capture import Capture
from runner.capture.changing import Changes, Output, Patched
from runner.capture.model_libraries import library_of
from runner.capture.selection import Selection
from runner.errors import InputError
from runner.probe.fitting import check_numbers
from runner.probe.probe import Probe
from runner.runs.run_tensors import RunTensors
from runner.sameness.distance import TOLERANCES, LargestError
from runner.sameness.fused import Noise, chains_in, where_it_begins
from runner.sameness.naming import go_by_names
from runner.sameness.rearrangement import Rearrangement
from runner.tensors import TensorSpec

_SELECTION = Selection(kinds=frozenset({"activation"}))


@dataclass(frozen=True)
class LayerError:
    """The errors of what one layer returns, relative to its largest value in a run.

    ``None`` stands for one that was not measured.

    Attributes
    ----------
    error
        The largest difference in a pass over the whole model.
    own
        The largest difference if the layer is given the values of the run, instead of those that
        the layers before it return.
    name
        The name of the model's tensor.
    begins
        The layer in which its own error begins, if several were fused.
    unrounded
        Its own error if no activation is rounded to an integer, in a file of a quantized model.
    """

    error: float | None
    own: float | None
    name: str
    begins: str | None = None
    unrounded: float | None = None


@dataclass(frozen=True)
class Counterpart:
    """The tensor of a model that corresponds to an activation of a run.

    Attributes
    ----------
    name
        Its name.
    rearranged
        How it is rearranged to be compared; ``None`` if it is compared as it is.
    """

    name: str
    rearranged: Rearrangement | None = None


def errors_of(
    model: Any,
    probe: Probe,
    run: RunTensors,
    matched: Callable[[], Mapping[str, Counterpart]] | None = None,
    *,
    nudged: bool = False,
) -> dict[str, LayerError]:
    """Show a model the probe of a run, and return the errors of its layers.

    The probe is shown twice in each batch: once as it is, and once while what each layer returns
    is recorded and then replaced by the values of the run.

    Parameters
    ----------
    model
        A model with the layers of the run's model.
    probe
        The probe of the run.
    run
        The run, with the values of all layers.
    matched
        Called if the activations have other names than those of the run: returns the tensors that
        correspond to these, by their names.
    nudged
        Whether the inputs, and the values of the run that are given to layers, are changed by one
        bit at random.

    Returns
    -------
    dict[str, LayerError]
        By the names of the activations that both have.

    Raises
    ------
    InputError
        If layers of such a model cannot be given values, or the run was made in training mode.
    RunError
        If the model fails.
    """
    record, library = run.probe_record, library_of(model)
    if record.training:
        raise InputError.of("capture.training", "layers draw random numbers in training mode")
    probe = check_numbers(probe, library.number_types(model, probe))
    size = library.fixed_batch(model) or record.batch_size or record.rows
    rng = np.random.default_rng(0)
    passes: _Passes | None = None
    with library.exact():
        for batch in probe.batches(size):
            shown = Shown(batch.inputs)
            if nudged:
                shown = mapped(lambda array: _nudged(array, rng), shown)
            if record.mixed_by is None or library.fixed_batch(model):
                shown = shown.padded(size)
            if passes is None:
                passes = _Passes(model, shown, run, matched)
            passes.show(shown, len(batch.samples), rng if nudged else None)
    return {} if passes is None else passes.errors()


class _Passes:
    """Two passes over a model: as it is, and with each layer given the values of a run.

    Parameters
    ----------
    model
        The model.
    shown
        The first batch.
    run
        The run.
    matched
        As in `errors_of`.
    """

    def __init__(
        self,
        model: Any,
        shown: Shown,
        run: RunTensors,
        matched: Callable[[], Mapping[str, Counterpart]] | None,
    ) -> None:
        self._model = model
        self._plain = Capture(model, shown, _SELECTION)
        specs = {name: spec for name, (spec, _) in _named(self._plain).items()}
        known = [one for one in run.record.tensors if one.kind == "activation"]
        counterparts = {
            one.name: Counterpart(one.name)
            for one in known
            if one.name in specs and specs[one.name].shape == one.shape
        }
        is_matched = matched is not None and not go_by_names([one.name for one in known], specs)
        if matched is not None and is_matched:
            counterparts = {**matched()}
        self._counterparts = {
            name: each for name, each in counterparts.items() if each.name in specs
        }
        self._specs = {name: specs[each.name] for name, each in self._counterparts.items()}
        self._run = run
        paired = {name: each.name for name, each in self._counterparts.items()}
        self._chains = chains_in(run.record, paired) if is_matched else {}
        self._apart: dict[str, np.ndarray] = {}
        self._noise = Noise()
        self._fed: Capture | None = None
        self._finer = library_of(model).unrounded(model) if is_matched else None
        self._fed_finer: Capture | None = None
        self._readers = {name: _Reader(run.blocks(name, "activation")) for name in self._specs}
        self._whole = {name: LargestError() for name in self._specs}
        self._own = {name: LargestError() for name in self._specs}
        self._unrounded = {name: LargestError() for name in self._specs}
        # Where an error begins is not covered by what integers add.
        self._judged = self._own if self._finer is None else self._unrounded

    def show(self, shown: Shown, rows: int, rng: np.random.Generator | None) -> None:
        """Show a batch, of which the first `rows` samples count."""
        if not self._specs:
            return
        values = {name: reader.take(rows) for name, reader in self._readers.items()}
        given = values if rng is None else mapped(lambda array: _nudged(array, rng), values)
        patches = {name: self._placed(name, array) for name, array in given.items()}
        fed = Shown(shown.inputs, patches=Shown(patches).padded(shown.samples).inputs)
        if self._fed is None:
            patched = {Output.of(spec): Patched(name) for name, spec in self._specs.items()}
            changes = Changes(patched, recorded="before")
            self._fed = Capture(self._model, fed, _SELECTION, changes=changes)
            if self._finer is not None:
                self._fed_finer = Capture(self._finer, fed, _SELECTION, changes=changes)
        for capture, errors, batch in (
            (self._plain, self._whole, shown),
            (self._fed, self._own, fed),
            (self._fed_finer, self._unrounded, fed),
        ):
            if capture is None:
                continue
            arrays = capture(batch)
            places = {name: place for name, (_, place) in _named(capture).items()}
            for name, each in self._counterparts.items():
                found = arrays[places[each.name]] if each.name in places else None
                if found is not None:
                    placed = _compared(found[:rows], each.rearranged)
                    errors[name].add(values[name], placed)
                    if self._chains and errors is self._judged:
                        self._noise.add(name, values[name], placed)
                        if name in self._chains:
                            self._apart.setdefault(name, placed - values[name])

    def _placed(self, name: str, values: np.ndarray) -> np.ndarray:
        """Return values of the run with the axes of the tensor that stands for it."""
        way = self._counterparts[name].rearranged
        return values if way is None else way.undone_on_samples(values, self._specs[name].shape)

    def errors(self) -> dict[str, LayerError]:
        """Return the errors of all batches, by the names of the tensors."""
        return {
            name: LayerError(
                self._whole[name].relative,
                self._own[name].relative,
                each.name,
                self._begins(name),
                self._unrounded[name].relative,
            )
            for name, each in self._counterparts.items()
        }

    def _begins(self, name: str) -> str | None:
        """Return the layer in which an error begins that is larger than rounding."""
        apart, own = self._apart.get(name), self._judged[name].relative or 0.0
        if apart is None or own <= TOLERANCES.get(str(apart.dtype), 0.0):
            return None
        rows = len(apart)
        return where_it_begins(
            self._chains[name],
            apart,
            lambda given: _Reader(self._run.blocks(given, "activation")).take(rows),
            self._weight,
            self._noise.usual_beside(name),
        )

    def _weight(self, name: str) -> np.ndarray | None:
        known = any(one.kind == "weight" and one.name == name for one in self._run.record.tensors)
        return self._run.array(name, "weight") if known else None


def _compared(values: np.ndarray, way: Rearrangement | None) -> np.ndarray:
    return values if way is None else way.of_samples(values)


def _named(capture: Capture) -> dict[str, tuple[TensorSpec, int]]:
    """Return the tensors of a capture by their names, each with its place among the values."""
    places = {spec: place for place, spec in enumerate(capture.tensors)}
    named = {spec.name: (spec, place) for spec, place in places.items()}
    return named | {
        alias.name: (alias, places[original])
        for alias, original in capture.aliases
        if original in places
    }


class _Reader:
    """The values of a tensor of a run, taken from its blocks in order.

    Parameters
    ----------
    blocks
        Arrays of shape (samples, *axes of a sample).
    """

    def __init__(self, blocks: Iterator[np.ndarray]) -> None:
        self._blocks = blocks
        self._waiting: np.ndarray | None = None

    def take(self, rows: int) -> np.ndarray:
        """Return the values of the next `rows` samples."""
        parts: list[np.ndarray] = []
        missing = rows
        while missing:
            block = next(self._blocks) if self._waiting is None else self._waiting
            parts.append(block[:missing])
            self._waiting = block[missing:] if len(block) > missing else None
            missing -= len(parts[-1])
        return np.concatenate(parts)


def _nudged(array: Any, rng: np.random.Generator) -> Any:
    """Return floating-point numbers that are larger or smaller by one bit, at random."""
    bit = epsilon(array.dtype) if isinstance(array, np.ndarray) else 0.0
    if not bit:
        return array
    signs = rng.choice((-bit, bit), array.shape)
    return (array.astype(np.float64) * (1 + signs)).astype(array.dtype)


def epsilon(dtype: np.dtype[Any] | str) -> float:
    """Return the distance from 1 to the next number of a dtype; 0 if it is not floating."""
    try:
        found: Any = ml_dtypes.finfo(getattr(ml_dtypes, str(dtype), dtype))  # type: ignore[no-untyped-call]
    except (TypeError, ValueError):
        return 0.0
    return float(found.eps)
