"""The arithmetic of a run's values, as texts that are stored in the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runner.arithmetic.layer_call import LayerCall
from runner.errors import InputError
from runner.report.excerpt import Excerpt
from runner.runs.published_run import Run
from runner.screen import explain
from runner.tensors import TensorSpec

_MOST_VALUES = 600


def explained(
    run: Run, tensors: Sequence[TensorSpec], units: Sequence[Sequence[str]], excerpt: Excerpt
) -> list[dict[str, Any]]:
    """Return the arithmetic of the shown values, tensor by tensor.

    At most 600 values of a run are explained, sample by sample, so that a page stays
    small; each tensor gets an equal share of the number that remains.

    Parameters
    ----------
    run
        The run.
    tensors
        The shown tensors.
    units
        For each tensor, the names of the shown values, as `runner.screen.explain.show`
        takes them.
    excerpt
        The shown samples.

    Returns
    -------
    list of dict
        For each tensor either ``texts``, for each sample the texts by unit, fewer once the
        limit is reached; or ``why_not``, the reason why the tensor cannot be explained.
    """
    left = _MOST_VALUES
    told: list[dict[str, Any]] = []
    for number, (tensor, names) in enumerate(zip(tensors, units, strict=True)):
        room = left // (len(tensors) - number)
        try:
            texts = _texts(run, tensor, names, excerpt, room)
        except InputError as error:
            told.append({"why_not": "; ".join(problem.message for problem in error.problems)})
            continue
        left -= sum(map(len, texts))
        told.append({"texts": texts})
    return told


def _texts(
    run: Run, tensor: TensorSpec, units: Sequence[str], excerpt: Excerpt, room: int
) -> list[dict[str, str]]:
    if tensor.kind != "activation":
        raise InputError.of(tensor.name, f"tensors of kind {tensor.kind} are not covered yet")
    if not excerpt.samples or not units:
        return []
    samples = max(1, min(len(excerpt.samples), room // len(units)))
    places = [(unit, explain.place_of(unit, tensor.shape, tensor.name)) for unit in units[:room]]
    texts = []
    for row, sample in zip(excerpt.places[:samples].tolist(), excerpt.samples, strict=False):
        call = LayerCall.read(run, tensor.name, row)
        texts.append({unit: explain.tell(call, place, sample) for unit, place in places})
    return texts
