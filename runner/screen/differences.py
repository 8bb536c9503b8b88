"""The differences between two runs as text."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

from runner.errors import some
from runner.sameness.difference import Difference, TensorDifference
from runner.screen.figures import shortest
from runner.screen.screen import cut, text_of

_MOST_ROWS = 20
_MOST_FACTS = 20


def told(found: Difference) -> str:
    """Return the differences between two runs as plain text, 80 columns wide."""
    parts = [_facts(found), _table(found), _first(found), _verdict(found)]
    return "\n\n".join(part for part in parts if part) + f"\n{_result(found)}\n"


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


def _table(found: Difference) -> str:
    rows = [t for t in found.tensors if not t.bitwise]
    if not rows:
        return ""
    table = Table("differs", box=None, pad_edge=False)
    for title in ("max abs", "of scale", "ulp", "cells", "within"):
        table.add_column(title, justify="right", no_wrap=True)
    for tensor in rows[:_MOST_ROWS]:
        table.add_row(*map(Text, _cells(tensor)))
    if len(rows) > _MOST_ROWS:
        table.add_row(f"and {len(rows) - _MOST_ROWS} more")
    return text_of(table)


def _cells(tensor: TensorDifference) -> tuple[str, ...]:
    name = cut(tensor.tensor)
    if tensor.why is not None:
        return (f"{name}: {tensor.why}", "", "", "", "", "no")
    return (
        name,
        f"{tensor.max_abs:.3g}",
        f"{tensor.max_relative:.3g}",
        "" if tensor.ulp is None else f"{tensor.ulp:,}",
        f"{tensor.differing:.1%}",
        "yes" if tensor.within else "no",
    )


def _first(found: Difference) -> str:
    tensor = found.first
    if tensor is None:
        return ""
    where = ""
    if tensor.values is not None:
        one, other = map(shortest, tensor.values)
        where = f"\n       worst at sample {tensor.sample}, {tensor.unit}: {one} and {other}"
    return f"first  {tensor.tensor} ({tensor.layer_class}){where}"


def _verdict(found: Difference) -> str:
    lines = []
    for plural, group in (
        ("layers", [t for t in found.tensors if t.kind != "weight"]),
        ("weights", [t for t in found.tensors if t.kind == "weight"]),
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
    wrong = [t for t in found.tensors if not (t.bitwise if found.exact else t.within)]
    if wrong:
        why = "bit for bit" if found.exact else "within the tolerance"
        named = some([cut(tensor.tensor) for tensor in wrong], 1)
        return f"FAIL: {len(wrong)} of {len(found.tensors)} tensors are not equal {why}: {named}"
    if all(tensor.bitwise for tensor in found.tensors):
        return "PASS: every tensor is equal bit for bit"
    return "PASS: every tensor is equal within the tolerance"
