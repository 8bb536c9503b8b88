"""The errors of several runs that were made again elsewhere, as text."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table
from rich.text import Text

from runner.errors import RunnerError, short_line
from runner.sameness.difference import Difference
from runner.screen.diff import verdict
from runner.screen.tables import cut, text_of


def told_together(run_id: str, found: Mapping[str, Difference | RunnerError]) -> str:
    """Return a table of reruns as plain text, 80 columns wide.

    Parameters
    ----------
    run_id
        The run that was made again.
    found
        What is other in each new run, as typed, with its differences or the error that ended it.
    """
    table = Table("with", "first that differs", box=None, pad_edge=False)
    for title in ("error", "largest error", "within"):
        table.add_column(title, justify="right", no_wrap=True)
    told = []
    for how, each in found.items():
        if isinstance(each, Difference):
            table.add_row(*map(Text, (how, *_cells(each))))
            if not each.same and each.measured is not None:
                told.append(f"{how}: {verdict(each)}")
        else:
            table.add_row(Text(how), Text("failed"), "", "", Text("no"))
            told.append(f"{how}: {short_line(str(each))}")
    passed = sum(isinstance(each, Difference) and each.same for each in found.values())
    result = "PASS" if passed == len(found) else "FAIL"
    end = f"{result}: {passed} of {len(found)} are equal to run {run_id} within the tolerance"
    return "\n\n".join(filter(None, (text_of(table), "\n".join(told), end))) + "\n"


def _cells(found: Difference) -> tuple[str, ...]:
    first = found.first_beyond or found.first
    within = "yes" if found.same else "no"
    if first is None:
        return "none", "0", "0", within
    errors = [tensor.max_relative for tensor in found.compared if tensor.why is None]
    largest = f"{max(errors):.2e}" if errors else ""
    error = f"{first.max_relative:.2e}" if first.why is None else ""
    return cut(first.tensor), error, largest, within
