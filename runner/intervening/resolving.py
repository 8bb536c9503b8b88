"""Finds the outputs that interventions change, and the numbers that they take."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any

import numpy as np

from runner.capture.changing import Output
from runner.capture.heads import Heads
from runner.capture.model_libraries import library_of
from runner.capture.selection import fits
from runner.errors import InputError, some
from runner.intervening.action import Action
from runner.intervening.changed_output import ChangedOutput, PerSample, along
from runner.intervening.edits import ChangedHeads, Edit
from runner.intervening.effects import outputs_alone
from runner.intervening.over_probe import Asked, measured
from runner.intervening.patch_source import PatchSource
from runner.intervening.places import EACH, numbers_in
from runner.probe.probe import Probe
from runner.showing.settings import Settings
from runner.showing.showing import Showing
from runner.tensors import Kind, TensorSpec, shape_text


class Targets:
    """The outputs that interventions change, found by showing a probe without interventions.

    Parameters
    ----------
    model, probe, settings
        As for `Showing`. Other interventions may follow (`edits`): by the same patterns, and of
        heads where these are.
    like
        A showing of the probe to the model that was made before.

    Attributes
    ----------
    showing : Showing
        A showing that captures these outputs, and those of the model.

    Raises
    ------
    InputError
        If a pattern matches no output that can be changed.
    """

    def __init__(
        self, model: Any, probe: Probe, settings: Settings, like: Showing | None = None
    ) -> None:
        plain = partial(_plain, model, probe, settings, like)
        self.showing, self._found = _found(plain, settings)
        self._is_new = True

    def edits(self, intervene: Mapping[str, Action]) -> list[Edit]:
        """Return what interventions do to the outputs; the showing starts again.

        Raises
        ------
        InputError
            If a unit or position does not exist, or there are more or fewer numbers than units.
        """
        if not self._is_new:
            self.showing.renew()
        self._is_new = False
        found = [replace(one, what=intervene[one.pattern]) for one in self._found]
        measures = measured(self.showing, {one.asked for one in found})
        if measures:
            self.showing.renew()
        sources: dict[str, PatchSource] = {}

        def values_of(
            spec: TensorSpec, run: str, place: str, samples: Mapping[str, str]
        ) -> PerSample:
            if place not in sources:
                sources[place] = PatchSource(run, place, samples)
            return sources[place].values_of(spec)

        return [
            _edit(
                one,
                ChangedOutput(
                    one.pattern,
                    one.spec,
                    0 if one.what.is_of_each else number,  # as in a run of its own
                    one.axes,
                    one.units,
                    measures.get(one.asked),
                    partial(values_of, one.spec),
                ),
            )
            for number, one in enumerate(found)
        ]


@dataclass(frozen=True)
class _Target:
    """A tensor that an action changes; its fields are as in `ChangedOutput`."""

    pattern: str
    what: Action
    spec: TensorSpec
    heads: Heads | None = None

    @property
    def asked(self) -> Asked:
        """What is to be measured of its units."""
        return self.spec, self.axes, self.what.over_probe

    @property
    def axes(self) -> tuple[int, ...]:
        """The axes along which its units lie."""
        names = self.spec.axes or ()
        if self.heads is not None and "head" in names:
            return names.index("head"), self.spec.unit_axis
        return (self.spec.unit_axis,)

    @property
    def units(self) -> tuple[int, ...] | None:
        """The changed units; ``None`` for all."""
        size = prod(self.spec.shape[axis] for axis in self.axes) if self.spec.shape else 1
        if self.heads is None:
            chosen = None if self.what.units == EACH else self.what.units
            return _chosen(self, "units", chosen, size)
        if self.what.heads == EACH:
            return None
        width = size // self.heads.count
        heads = _chosen(self, "heads", self.what.heads, self.heads.count) or ()
        return tuple(head * width + at for head in heads for at in range(width))


def _found(
    plain: Callable[[Collection[str]], Showing], settings: Settings
) -> tuple[Showing, list[_Target]]:
    """Show a probe without interventions, as `_plain` does; return the tensors that they change."""
    intervene, showing = settings.intervene, plain(())
    heads = {
        pattern: _with_heads(pattern, showing)
        for pattern, what in intervene.items()
        if what.heads is not None
    }
    if heads:
        joined = {one.joined.layer_path for found in heads.values() for one in found}
        showing = plain(joined)
    outputs = _outputs(showing)
    by_place = {Output.of(spec): spec for spec in outputs}
    activations = [spec for spec in outputs if spec.kind == "activation"]
    found: list[_Target] = []
    for pattern, what in intervene.items():
        if pattern in heads:
            found += [_Target(pattern, what, by_place[one.joined], one) for one in heads[pattern]]
        else:
            matching = _matching(
                pattern, activations, library_of(showing.model).name_of(showing.model)
            )
            found += [_Target(pattern, what, spec) for spec in matching]
    return showing, found


def _plain(
    model: Any, probe: Probe, settings: Settings, like: Showing | None, joined: Collection[str]
) -> Showing:
    """Show a probe without interventions, to capture what they change.

    Parameters
    ----------
    model, probe, settings, like
        As for `Targets`.
    joined
        Layers that are given the heads of others, or return them.
    """
    include = [*settings.intervene, *joined]
    kinds: list[Kind] = ["activation", "input"] if joined else ["activation"]
    try:
        return Showing(model, probe, outputs_alone(settings, include, kinds), like=like)
    except InputError as error:
        raise InputError(
            replace(one, place="intervene") if one.place == "capture.include" else one
            for one in error.problems
        ) from error


def _with_heads(pattern: str, showing: Showing) -> list[Heads]:
    """Return the heads of the attention layers that a pattern matches."""
    known = showing.capture.heads
    found = [one for one in known if fits(pattern, one.layer)]
    refused = [why for layer, why in showing.capture.refused_heads if fits(pattern, layer)]
    if not found and refused:
        raise InputError.of(
            f"intervene.{pattern}.heads",
            f"'{pattern}' {refused[0]}",
            "to switch a head off, set its part of the output projection's weights to 0 in a copy "
            "of the model",
        )
    if not found:
        names = list(dict.fromkeys(one.layer.layer_path for one in known))
        advice = f"layers with heads: {some(names, most=5)}" if names else "leave it out"
        message = f"'{pattern}' has no heads that can be changed"
        raise InputError.of(f"intervene.{pattern}.heads", message, advice)
    return found


def _outputs(showing: Showing) -> list[TensorSpec]:
    """Return all outputs that were captured, also those that are the same tensor as another."""
    capture = showing.capture
    specs = [*capture.tensors, *(alias for alias, _ in capture.aliases)]
    return sorted(
        (spec for spec in specs if spec.layer_path),  # not what the model itself returns
        key=lambda spec: spec.order,
    )


def _matching(pattern: str, outputs: Iterable[TensorSpec], name: str) -> list[TensorSpec]:
    """Return the outputs that a pattern matches and that can be changed."""
    found = [spec for spec in outputs if any(fits(pattern, one) for one in (spec, _indexed(spec)))]
    whole = [spec for spec in found if spec.layer_path == name]  # what the model itself returns
    others = [spec for spec in found if spec not in whole]
    changeable = [spec for spec in others if "float" in spec.dtype]
    if changeable:
        return changeable
    place = f"intervene.{pattern}"
    if others:
        message = (
            f"'{others[0].name}' returns {others[0].dtype}: only floating-point numbers change"
        )
        raise InputError.of(place, message, "name another layer")
    message = f"'{pattern}' is the model itself" if whole else f"'{pattern}' matches no output"
    raise InputError.of(place, message, "name one of its layers")


def _indexed(spec: TensorSpec) -> TensorSpec:
    """Return an output under the name in which every call has an index."""
    path, colon, place = spec.name, "", ""
    if spec.output is not None:
        path, colon, place = spec.name.rpartition(f":{spec.output}")[0], ":", spec.output
    parts = [part if re.search(r"@\d+$", part) else f"{part}@0" for part in path.split("/")]
    return replace(spec, name="/".join(parts) + colon + place)


def _edit(target: _Target, output: ChangedOutput) -> Edit:
    spec, what = target.spec, target.what
    mask, positions = output.is_changed, None
    if what.positions is not None:
        axis = _sequence_axis(target.pattern, spec)
        chosen = None if what.positions == EACH else what.positions
        positions = _chosen(target, "positions", chosen, spec.shape[axis])
        if positions is not None:
            of_axis = np.isin(np.arange(spec.shape[axis]), positions)
            mask = mask & of_axis.reshape(along(spec, (axis,)))
    heads = None
    if target.heads is not None:
        count = target.heads.count
        given = f"0-{count - 1}" if what.heads in (None, EACH) else what.heads
        heads = ChangedHeads(tuple(numbers_in(given or [], count)), target.heads)
    return Edit(output, what, mask, what.numbers(output), positions, heads)


def _chosen(target: _Target, key: str, places: Any, size: int) -> tuple[int, ...] | None:
    """Return the chosen units, heads or positions; ``None`` for all."""
    if places is None:
        return None
    numbers = numbers_in(places, size)
    outside = [str(number) for number in numbers if number >= size]
    if outside:
        layer = target.heads.layer.layer_path if key == "heads" and target.heads else ""
        raise InputError.of(
            f"intervene.{target.pattern}.{key}",
            f"{some(outside, most=3)} out of range",
            f"the {key} of '{layer or target.spec.name}' are 0 to {size - 1}",
        )
    return tuple(numbers)


def _sequence_axis(pattern: str, spec: TensorSpec) -> int:
    """Return the axis of a sample along which the positions of a sequence lie."""
    axis = spec.position_axis
    if axis is None:
        raise InputError.of(
            f"intervene.{pattern}.positions",
            f"'{spec.name}' has no positions of a sequence: a sample is {shape_text(spec.shape)}",
            "leave it out",
        )
    return axis
