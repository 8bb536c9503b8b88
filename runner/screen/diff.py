"""The differences between two runs as text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from runner.errors import short_line, some
from runner.sameness.blame import at_fault, cut_off_in
from runner.sameness.difference import Difference, TensorDifference
from runner.screen.tables import cut, shortest, text_of
from runner.tensors import PER_SAMPLE

_MOST_ROWS = 20
_MOST_FACTS = 20


@dataclass(frozen=True)
class Column:
    """A column of figures in a table of differences.

    Attributes
    ----------
    title
        Its title.
    figure
        Returns the figure of a tensor whose values can be compared.
    """

    title: str
    figure: Callable[[TensorDifference], str]


_CELLS = Column("cells", lambda tensor: f"{tensor.differing:.1%}")
_MAX_ABS = Column("max abs", lambda tensor: f"{tensor.max_abs:.3g}")

SAME = (
    _MAX_ABS,
    Column("of scale", lambda tensor: f"{tensor.max_relative:.3g}"),
    Column("ulp", lambda tensor: "" if tensor.ulp is None else f"{tensor.ulp:,}"),
    _CELLS,
)
"""The columns for two runs that should be the same."""

_ERROR = Column("error", lambda tensor: f"{tensor.max_relative:.2e}")

ELSEWHERE = (_ERROR, _MAX_ABS, _CELLS)
"""The columns for a run that was made again elsewhere: the error is relative to the layer's
largest value.
"""

MEASURED = (
    _ERROR,
    Column("floor", lambda tensor: _of_scale(tensor.floor)),
    Column("own error", lambda tensor: _of_scale(tensor.own_error)),
    _MAX_ABS,
)
"""The columns if it was also measured what rounding causes, and what each layer adds itself."""


def _of_scale(error: float | None) -> str:
    return "" if error is None else f"{error:.2e}"


def told(found: Difference) -> str:
    """Return the differences between two runs as plain text, 80 columns wide.

    If one run repeats the other, and what its layers add was measured, the text says that, too.
    """
    if found.measured is not None:
        return _judged(found, [])
    parts = [_facts(found), _table(found, SAME), _left_out(found), _first(found), _counts(found)]
    return "\n\n".join(part for part in parts if part) + f"\n{_result(found)}\n"


def told_elsewhere(found: Difference, how: str) -> str:
    """Return the errors of a run made again elsewhere as plain text, 80 columns wide.

    Parameters
    ----------
    found
        The run, and the new one.
    how
        What is other in the new one, as typed.
    """
    return _judged(found, [f"with {how}"])


def _judged(found: Difference, head: Sequence[str]) -> str:
    tables = _table(found, ELSEWHERE if found.measured is None else MEASURED), _left_out(found)
    parts = [*head, _facts(found), *tables, _measured(found), _first(found), _counts(found)]
    end = f"{verdict(found)}\n{_result(found)}"
    return "\n\n".join(part for part in parts if part) + f"\n{end}\n"


def verdict(found: Difference) -> str:
    """Return the line that names the layer at fault.

    It is the one that adds the largest error itself, or else the first beyond its floor, or the
    tolerance.
    """
    cut_off = cut_off_in(found.a, found.b, found.compared)
    worst = at_fault(found.compared, cut_off)
    if worst is not None:
        return _blame(found, worst)
    first = found.first_beyond or found.first
    if first is None:
        return "no layer differs"
    if first.why is not None:
        return f"{cut(first.tensor)} is the first layer that differs: {first.why}"
    error = f"{first.max_relative:.2e} of its largest value"
    if first.floor is not None:
        error += f" (floor {first.floor:.0e})"
    if found.first_beyond is not None:
        return f"{_with_fused(found, first)} is the first layer that differs: {error}"
    if found.measured is not None and found.measured.has_floors:
        return "no layer is beyond its floor"
    return f"no layer differs beyond the tolerance; the first is {cut(first.tensor)}: {error}"


def _blame(found: Difference, worst: TensorDifference) -> str:
    """Return the verdict if layers add an error themselves: the worst, and how many inherit."""
    adding = [tensor for tensor in found.compared if tensor.adds]
    floor = worst.own_floor if worst.floor is None else worst.floor
    line = f"{_with_fused(found, worst)} adds {worst.own_error:.0e}"
    line += "" if floor is None else f" (floor {floor:.0e})"
    if len(adding) > 1:
        line += f", the most of {len(adding):,} layers"
    behind = found.compared[found.compared.index(adding[0]) :]
    inherit = sum(
        not tensor.within and not tensor.adds and tensor.kind == "activation" for tensor in behind
    )
    if inherit:
        verb = "inherits" if inherit == 1 else "inherit"
        layers, those = "layer" if inherit == 1 else "layers", "it" if len(adding) == 1 else "them"
        line += f"; {inherit:,} {layers} behind {those} {verb}"
    return line


def _with_fused(found: Difference, tensor: TensorDifference) -> str:
    """Return the name of a tensor, with those of the layers that were fused into its own."""
    group = [each.tensor for each in found.tensors if each.into == tensor.tensor]
    group = [tensor.tensor, *group]
    first = tensor.begins if tensor.begins in group else tensor.tensor
    group.remove(first)
    return f"{cut(first)} (one operation with {some(group, 3)})" if group else cut(first)


def _measured(found: Difference) -> str:
    """Return how the floors and own errors were measured."""
    table = found.measured
    if table is None:
        return ""
    return f"floor      {short_line(table.floor_by)}\nown error  {short_line(table.own_by)}"


def _facts(found: Difference) -> str:
    lines = [f"a  {found.a.id}", f"b  {found.b.id}"]
    shown = found.facts[:_MOST_FACTS]
    lines += [f"   {key}: {_short(one)} | {_short(other)}" for key, one, other in shown]
    if len(found.facts) > len(shown):
        lines.append(f"   and {len(found.facts) - len(shown)} more keys of the records")
    return "\n".join(lines)


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _table(found: Difference, columns: Sequence[Column]) -> str:
    rows = [t for t in found.compared if not t.bitwise]
    if not rows:
        return ""
    table = Table("differs", box=None, pad_edge=False)
    for title in (*(column.title for column in columns), "within"):
        table.add_column(title, justify="right", no_wrap=True)
    for tensor in rows[:_MOST_ROWS]:
        table.add_row(*map(Text, _cells(tensor, columns)))
    if len(rows) > _MOST_ROWS:
        table.add_row(f"and {len(rows) - _MOST_ROWS} more")
    return text_of(table)


def _cells(tensor: TensorDifference, columns: Sequence[Column]) -> tuple[str, ...]:
    name = cut(tensor.tensor)
    if tensor.how == "order" and tensor.other is not None:
        name = f"{name} = {cut(tensor.other)} (by order)"
    if tensor.why is not None:
        return (f"{name}: {tensor.why}", *("" for _ in columns), "no")
    figures = (column.figure(tensor) for column in columns)
    return (name, *figures, "yes" if tensor.within else "no")


def _left_out(found: Difference) -> str:
    """Return the tensors that were matched with none, as one table."""
    rows = [t for t in found.tensors if t.left_out]
    if not rows:
        return ""
    table = Table("not compared", "why", box=None, pad_edge=False)
    for tensor in rows[:_MOST_ROWS]:
        table.add_row(*map(Text, (cut(tensor.tensor), tensor.why or "")))
    if len(rows) > _MOST_ROWS:
        table.add_row(f"and {len(rows) - _MOST_ROWS} more")
    return text_of(table)


def _first(found: Difference) -> str:
    tensor = found.first if found.exact else found.first_beyond or found.first
    if tensor is None:
        return ""
    where = ""
    if tensor.values is not None:
        one, other = map(shortest, tensor.values)
        where = f"\n       worst at sample {tensor.sample}, {tensor.unit}: {one} and {other}"
    other = f", {tensor.other}" if tensor.other is not None else ""
    return f"first  {tensor.tensor} ({tensor.layer_class}){other}{where}"


def _counts(found: Difference) -> str:
    lines = []
    for plural, group in (
        ("layers", [t for t in found.compared if t.kind in PER_SAMPLE]),
        ("weights", [t for t in found.compared if t.kind not in PER_SAMPLE]),
    ):
        if group:
            equal = sum(t.bitwise for t in group)
            within = sum(t.within and not t.bitwise for t in group)
            different = len(group) - equal - within
            line = f"{equal} of {len(group)} {plural} bitwise equal"
            line += f", {within} within the tolerance" if within else ""
            lines.append(line + (f", {different} different" if different else ""))
    return "\n".join(lines)


def _result(found: Difference) -> str:
    """Return the last line: PASS or FAIL, and the reason."""
    wrong = [t for t in found.compared if not (t.bitwise if found.exact else t.within)]
    if wrong:
        why = "bit for bit" if found.exact else "within the tolerance"
        named = some([cut(tensor.tensor) for tensor in wrong], 1)
        return f"FAIL: {len(wrong)} of {len(found.compared)} tensors are not equal {why}: {named}"
    if all(tensor.bitwise for tensor in found.compared):
        return "PASS: every tensor is equal bit for bit"
    return "PASS: every tensor is equal within the tolerance"
