"""A view of the report: a part of a page, with its template and the script that draws it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.report.shown_run import ShownRun
from runner.report.shown_sweep import ShownSweep


@dataclass(frozen=True)
class Part:
    """What a view shows on one page.

    Attributes
    ----------
    shown
        Variables of the template.
    data
        Data for the script: whatever JSON can represent.
    """

    shown: Mapping[str, Any] = field(default_factory=dict)
    data: Any = None


@dataclass(frozen=True)
class View:
    """A view of the report.

    Attributes
    ----------
    template
        HTML with the placeholders of Jinja, which escapes what is put in their place.
    of_run, of_sweep
        Functions that return what the view shows of a run, or of several runs; ``None`` where
        there is nothing to show. A view without the function is not on such pages.
    script
        JavaScript that draws the view, if any. It finds the data of the part in ``part``, and the
        functions of ``templates/page.js``; on the page of a run also those of ``run.js``.
    questions
        What is shown, and the question that it answers: for the documentation.
    order
        Place among Runner's own views on a page.
    """

    template: str
    of_run: Callable[[ShownRun], Part | None] | None = None
    of_sweep: Callable[[ShownSweep], Part | None] | None = None
    script: str = ""
    questions: Mapping[str, str] = field(default_factory=dict)
    order: int = 100


def text_beside(module: str, suffix: str) -> str:
    """Return the text of the file with a module's name and another suffix, in the same folder."""
    return Path(module).with_suffix(suffix).read_text(encoding="utf-8")
