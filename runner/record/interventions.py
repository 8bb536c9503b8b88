"""What interventions did in a run, in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from runner.record.layer_record import ChangeRecord, TensorRecord
from runner.record.record import RunRecord

_MOST_NOTES = 5


def changes_told(record: RunRecord) -> dict[str, str]:
    """Return what was done to each changed tensor, by its name: ``units 0, 3 set to 0``."""
    return {
        tensor.name: "; then ".join(map(_told, tensor.changed_by))
        for tensor in record.tensors
        if tensor.changed_by
    }


def intervention_notes(record: RunRecord) -> list[str]:
    """Return a sentence for each of the first changed tensors, and one for all others."""
    told = [f"{name} was changed: {what}" for name, what in changes_told(record).items()]
    more = len(told) - _MOST_NOTES
    return told if more <= 1 else [*told[:_MOST_NOTES], f"{more} more outputs were changed"]


def changed_place(layer: str, row: Mapping[str, Any]) -> str:
    """Return what was changed by itself: ``hidden u3``, ``block at position 2``.

    Parameters
    ----------
    layer
        The name of the layer, as it is shown.
    row
        The attributes of an `EffectRecord`; none of them is NaN.
    """
    told = {"head": "head {}", "unit": "u{}", "position": "at position {}"}
    parts = [text.format(row[key]) for key, text in told.items() if row[key] is not None]
    return " ".join([layer, *parts])


def changes_of(tensor: TensorRecord, place: tuple[int, ...]) -> Iterator[str]:
    """Yield what was done to one value of a tensor, in words that follow ``unit u3 was``.

    Parameters
    ----------
    tensor
        The tensor.
    place
        Position in a sample.
    """
    for change in tensor.changed_by:
        if change.heads is not None and change.units is None:
            continue  # its values follow from those of the heads
        axes = ((change.units, tensor.unit_axis), (change.positions, tensor.position_axis))
        if all(
            numbers is None or axis is None or not place or place[axis] in numbers
            for numbers, axis in axes
        ):
            yield change.did


def heads_changed(tensor: TensorRecord) -> list[str]:
    """Return what was done to the heads of an attention layer: ``head 2 set to 0``."""
    changes = [one for one in tensor.changed_by if one.heads is not None and one.units is None]
    return [_told(change) for change in changes]


def _told(change: ChangeRecord) -> str:
    parts = []
    units = ("unit", change.units) if change.heads is None else ("head", change.heads)
    for what, numbers in (units, ("position", change.positions)):
        if numbers is not None:
            parts.append(f"{what}{'s' * (len(numbers) != 1)} {_numbers(numbers)}")
    return f"{' at '.join(parts) or 'all values'} {change.did}"


def _numbers(numbers: Iterable[int]) -> str:
    """Return numbers as text, with ranges: ``0-3, 7``."""
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)
