"""The arithmetic of one value as text."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from math import prod
from typing import Any

import numpy as np
import pandas as pd

from runner.arithmetic.account import Account
from runner.arithmetic.layer_call import LayerCall, sample_of
from runner.arithmetic.spelling import spell_out
from runner.errors import InputError, one_of, some
from runner.record.interventions import changes_of, heads_changed
from runner.runs.published_run import Run
from runner.screen.tables import shortest, text_table
from runner.tables.layout import unit_places
from runner.tensors import shape_text

UNIT = re.compile(r"u\d+(_\d+)*")
"""Pattern of the names of a layer's units."""

_MOST_TERMS = 20
_LARGEST = 10
_MOST_NAMED = 10_000


def show(run: Run, layer: str, unit: str, sample: str | None = None) -> str:
    """Return the arithmetic of one value as text: its terms, the steps, and the stored value.

    If there are more than 20 terms, the 10 largest are shown, and the sum of the others.

    Parameters
    ----------
    run
        A run.
    layer
        Name of a layer's output; ``layer@1`` for a layer that is called more than once.
    unit
        ``u0``, ``u1``..., or ``u0_1_2`` for a map.
    sample
        Id of a sample, as text; by default the first sample of the probe.

    Raises
    ------
    InputError
        If the run has no such layer, unit or sample, or if the layer is not covered.
    """
    tensor = run.tensor(layer, "activation")
    place = place_of(unit, tensor.shape, layer)
    row, sample, chosen = _sample(run, layer, sample)
    call = LayerCall.read(run, layer, row)
    same = f"{layer} is the same tensor as {call.name}\n\n" if call.name != layer else ""
    return same + tell(call, place, sample) + chosen


def show_row(run: Run, layer: str, sample: str | None = None) -> str:
    """Return the values of a layer for one sample as text, and its unit and sample names.

    If there are more than 20 values, the 10 largest are shown.

    Parameters
    ----------
    run, layer, sample
        As in `show`.

    Raises
    ------
    InputError
        If the run has no such layer or sample.
    """
    tensor = run.tensor(layer, "activation")
    row, sample, chosen = _sample(run, layer, sample)
    flat = np.ravel(sample_of(run, layer, "activation", row))
    names = [f"u{place}" for place in unit_places(tensor.shape or (1,))]
    by_size = np.argsort(-np.abs(np.nan_to_num(flat.astype(np.float64))), kind="stable")
    order, heading = np.arange(flat.size), ""
    if flat.size > _MOST_TERMS:
        order = by_size[:_LARGEST]
        heading = f"the {_LARGEST} largest of {flat.size:,} values\n"
    table = text_table(pd.DataFrame({"value": flat[order]}, [names[at] for at in order]))
    shape = shape_text(tensor.shape)
    asked = [f"samples  {some([str(known) for known in run.samples])}"]
    if names:
        words = ["explain", layer, names[by_size[0]], run.id, "--sample", sample]
        asked.insert(0, f"units    {names[0]} to {names[-1]}")
        asked.append(f"next     python -m runner {shlex.join(words)}")
    following = "\n".join(asked)
    title = f"{layer}, sample {sample}, run {run.id}: {shape}"
    return f"{title}\n\n{heading}{table}\n\n{following}\n{chosen}"


def _sample(run: Run, layer: str, sample: str | None) -> tuple[int, str, str]:
    """Return a sample's row, its id, and a line that names it if it was chosen by default."""
    samples = [str(known) for known in run.samples]
    if sample is None:
        if not samples:
            raise InputError.of(layer, "the probe of this run has no samples")
        others = f"the first of {len(samples):,}; --sample ID shows another"
        return 0, samples[0], f"sample {samples[0]} is {others}\n" if len(samples) > 1 else ""
    if sample not in samples:
        raise _unknown(layer, "sample", sample, samples)
    return samples.index(sample), sample, ""


@np.errstate(all="ignore")  # what overflows is infinite, and is shown as that
def tell(call: LayerCall, place: tuple[int, ...], sample: str) -> str:
    """Return the arithmetic of one value of a call as text, as in `show`."""
    stored = call.output[place]
    account = spell_out(call, place)
    computed = account.result(stored.dtype)
    unit = "_".join(map(str, place)) or "0"
    tensor = call.run.tensor(call.name, "activation")
    done, before = list(changes_of(tensor, place)), heads_changed(tensor)
    said = _verdict(account, stored, computed, call.epsilon)
    if done:
        lines = [f"unit u{unit} was {each}" for each in done]
        if account.function is None:
            lines.insert(0, f"result  {shortest(computed)}")
        said = "\n".join([*lines, f"the stored value is {shortest(stored)}"])
    return (
        f"{call.name} u{unit}, sample {sample}, run {call.run.id}\n\n"
        f"{_changed(before)}"
        f"{_terms(account)}\n\n"
        f"{_steps(account, computed)}"
        f"{said}\n"
    )


def _changed(heads: Iterable[str]) -> str:
    return "".join(f"changed before: {one}\n\n" for one in heads)


def place_of(unit: str, shape: tuple[int, ...], layer: str) -> tuple[int, ...]:
    """Return the position in a sample of a layer's output that a unit's name refers to.

    Raises
    ------
    InputError
        If there is no such unit.
    """
    if UNIT.fullmatch(unit):
        place = tuple(map(int, unit[1:].split("_")))
        if not shape and place == (0,):
            return ()
        if len(place) == len(shape) and all(map(int.__lt__, place, shape)):
            return place
    if prod(shape) <= _MOST_NAMED:
        raise _unknown(layer, "unit", unit, [f"u{at}" for at in unit_places(shape or (1,))])
    last = "_".join(str(size - 1) for size in shape)
    raise InputError.of(
        layer, f"no unit '{unit}'", f"they go from u{'_'.join('0' * len(shape))} to u{last}"
    )


def _unknown(layer: str, what: str, name: str, known: list[str]) -> InputError:
    return InputError.of(layer, f"no {what} '{name}'", one_of(name, known))


def _terms(account: Account) -> str:
    table = account.terms
    if len(table) <= _MOST_TERMS:
        return text_table(table)
    last = table.columns[-1]
    by_size = np.argsort(-np.abs(table[last].to_numpy()), kind="stable")
    others = table[last].to_numpy()[by_size[_LARGEST:]]
    said = f"the {_LARGEST} largest of {len(table)} {last}s\n"
    said += text_table(table.iloc[by_size[:_LARGEST]])
    if account.summed:
        total = others.dtype.type(others.sum(dtype=np.float64))
        said += f"\nthe other {len(others)} {last}s sum to {shortest(total)}"
    return said


def _steps(account: Account, computed: np.generic) -> str:
    width = max(7, *(len(name) for name, _ in account.steps))
    lines = [f"{name:<{width}} {shortest(number)}" for name, number in account.steps]
    if account.function is not None:
        among = f" among {account.among} units" if account.among > 1 else ""
        number = shortest(account.steps[-1][1])
        lines.append(f"{account.function}({number}){among} = {shortest(computed)}")
    return "".join(f"{line}\n" for line in lines)


def _verdict(account: Account, stored: Any, computed: Any, epsilon: float) -> str:
    """Return a line on the difference of the stored value, in units in the last place (ULP)."""
    if np.array_equal(stored, computed, equal_nan=True):
        return f"equals the stored value {shortest(stored)}"
    line = f"differs from the stored value {shortest(stored)}"
    gap = abs(float(stored) - float(computed))
    if account.overflows(stored.dtype):
        return f"{line} (numbers too large for {stored.dtype})"
    if not np.isfinite(gap):
        return line
    place = np.spacing(np.maximum(np.abs(stored), np.abs(computed)))
    why = "order of rounding" if account.agrees(stored, epsilon) else "more than rounding explains"
    return f"{line} by {gap / place:.0f} ULP ({why})"
