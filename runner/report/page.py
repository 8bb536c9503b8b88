"""A self-contained HTML page that makes no network requests."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from runner.errors import InputError
from runner.plots.drawing import DIVERGING, EXTRA, MISSING, SEQUENTIAL, components, library
from runner.regular_files import write_in_place
from runner.report.view import Part
from runner.report.views import VIEWS

_FOLDER = Path(__file__).parent / "templates"
_HIDDEN = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_SCRIPTS = {
    "run": ("page.js", "images.js", "run.js"),
    "sweep": ("page.js",),
}


@dataclass(frozen=True)
class Page:
    """The contents of a page.

    Attributes
    ----------
    kind
        ``run`` or ``sweep``, which selects the template around the views, and its scripts.
    shown
        Variables of that template.
    data
        Data that the scripts of all views share.
    parts
        What each view shows, by its name.
    """

    kind: str
    shown: Mapping[str, Any]
    data: Mapping[str, Any]
    parts: Mapping[str, Part]


def rendered(page: Page) -> str:
    """Return the HTML of a page.

    Raises
    ------
    InputError
        If plotly or Jinja2 is not installed; the message has the command that installs it.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
        from markupsafe import Markup
    except ModuleNotFoundError as error:
        raise InputError.missing("report", "needs Jinja2", EXTRA) from error
    # Everything shown is escaped, so that no layer's name can close its tag.
    environment = Environment(
        autoescape=True,
        finalize=lambda value: value if isinstance(value, Markup) else visible(value),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FileSystemLoader(_FOLDER),
    )
    code, packed = _plotly()
    script = _script(page)
    missing = components(MISSING)
    colours = {"sequential": SEQUENTIAL, "diverging": DIVERGING, "missing": missing}
    return environment.get_template(f"{page.kind}.html.jinja").render(
        **page.shown,
        views=[
            Markup(environment.from_string(VIEWS[name].template).render(**part.shown))
            for name, part in page.parts.items()
        ],
        style=Markup((_FOLDER / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        plotly=packed,
        # Only these two scripts are allowed to run, by their hashes.
        allowed=Markup(f"'sha256-{_digest(script)}' 'sha256-{_digest(code)}'"),
        data=Markup(
            embedded(
                {
                    **page.data,
                    "colours": colours,
                    "parts": {name: part.data for name, part in page.parts.items()},
                }
            )
        ),
    )


def _script(page: Page) -> str:
    """Return the script of a page: the common functions, then each view's in a block of its own."""
    common = [(_FOLDER / name).read_text(encoding="utf-8") for name in _SCRIPTS[page.kind]]
    own = [
        f"{{\nconst part = data.parts[{json.dumps(name)}];\n{VIEWS[name].script}}}\n"
        for name in page.parts
        if VIEWS[name].script
    ]
    return f'(() => {{\n"use strict";\n{"".join([*common, *own])}}})();\n'


def embedded(data: Any) -> str:
    """Return data as JSON that is safe inside a script element.

    Raises
    ------
    ValueError
        For a NaN or an infinity, which JSON cannot represent.
    """
    text = json.dumps(visible(data), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def visible(value: Any) -> Any:
    """Return a value in which texts show hidden characters as escapes.

    Control characters, and those that reverse the order of the text around them, could make a
    page show something else than a run's files hold.
    """
    match value:
        case str():
            return _HIDDEN.sub(lambda found: repr(found[0])[1:-1], value)
        case dict():
            return {visible(key): visible(inner) for key, inner in value.items()}
        case list() | tuple():
            return [visible(inner) for inner in value]
        case _:
            return value


def write_page(text: str, path: Path) -> None:
    """Write a page atomically, replacing an existing one.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    try:
        write_in_place(text.encode("utf-8", "replace"), path)
    except OSError as error:
        raise InputError.of(str(path), f"cannot be written: {error.strerror}") from error


@cache
def _plotly() -> tuple[str, str]:
    """Return the plotting library's script, and its compressed bytes as base64."""
    library()  # raises InputError if it is missing
    from plotly.offline import get_plotlyjs

    code: str = get_plotlyjs()
    return code, base64.b64encode(gzip.compress(code.encode(), mtime=0)).decode()


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
