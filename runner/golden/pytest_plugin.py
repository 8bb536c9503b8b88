"""The pytest plugin: a fixture that compares every layer's output with what it was."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

# Runner's other modules are imported where they are used: pytest loads this one in every project.
if TYPE_CHECKING:
    from runner.golden.golden_file import GoldenChange

_FOLDER = "golden"
_MOST_ROWS = 20
_NAME = re.compile(r"[\w][\w.,=\[\]-]{0,99}")
_USED = pytest.StashKey[dict[str, str]]()
"""Files that were used in the session, each with the id of its test."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of golden activations."""
    group = parser.getgroup("runner", "golden activations of Runner")
    group.addoption(
        "--golden-update", action="store_true", help="write the golden activations anew"
    )
    group.addoption(
        "--golden-summary", metavar="FILE", help="append the differences to a file, in Markdown"
    )


@pytest.fixture
def runner_golden(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Return a function that compares a model's activations with those that a test keeps.

    ``runner_golden(model, x, "name")`` shows the model the inputs and compares the output of
    every layer with ``golden/name.json`` beside the test's file: bit for bit on the machine and
    with the versions it was written with, and within a tolerance elsewhere. ``rtol`` and ``atol``
    set the tolerance, everywhere; other arguments are those of `runner.capture_activations`.
    A name is used by one test, and once.
    """
    used = request.config.stash.setdefault(_USED, {})
    own: set[str] = set()  # of this test, which may be run again

    def check(
        model: Any,
        x: Any,
        name: str,
        *,
        rtol: float | None = None,
        atol: float | None = None,
        **options: Any,
    ) -> None:
        from runner.errors import RunnerError
        from runner.golden.golden_file import GoldenFile, captured, changes

        if not _NAME.fullmatch(name):
            pytest.fail(f"runner_golden: '{name}' is not a file name", pytrace=False)
        path = request.path.parent / _FOLDER / f"{name}.json"
        file = str(path).casefold()  # some file systems know no case
        user = used.setdefault(file, request.node.nodeid)
        if user != request.node.nodeid or file in own:
            pytest.fail(f"runner_golden: '{name}' is used twice, in {user}", pytrace=False)
        own.add(file)
        is_updated = request.config.getoption("--golden-update")
        if not is_updated and not path.exists():
            pytest.fail(f"no file {path}: write it with pytest --golden-update", pytrace=False)
        failure = ""
        try:
            now = captured(model, x, **options)
            if is_updated:
                now.write(path)
                return
            golden = GoldenFile.read(path)
        except RunnerError as error:
            failure = str(error)
        if failure:  # outside, so that pytest does not show the error twice
            pytest.fail(failure, pytrace=False)
        wrong = list(changes(golden, now, rtol, atol))
        if not wrong:
            return
        is_exact = golden.fingerprint == now.fingerprint and rtol is None and atol is None
        how = "bit for bit" if is_exact else "within the tolerance"
        if summary := request.config.getoption("--golden-summary"):
            _append(Path(summary), name, wrong)
        pytest.fail(_told(name, wrong, len(now.tensors), how), pytrace=False)

    return check


def _told(name: str, wrong: list[GoldenChange], layers: int, how: str) -> str:
    from rich.table import Table
    from rich.text import Text

    from runner.screen.tables import text_of

    table = Table("layer", "class", box=None, pad_edge=False)
    for title in ("max abs", "of scale"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in map(_cells, wrong[:_MOST_ROWS]):
        table.add_row(*map(Text, row))
    if len(wrong) > _MOST_ROWS:
        table.add_row(f"and {len(wrong) - _MOST_ROWS} more")
    return (
        f"{name}: {len(wrong)} of {layers} layers are not equal {how}\n\n{text_of(table)}\n\n"
        f"first  {_printable(wrong[0].name)} ({_printable(wrong[0].layer_class)})\n"
        "Differences are the largest among the numbers that are kept. If the change is meant: "
        "pytest --golden-update"
    )


def _cells(found: GoldenChange) -> tuple[str, str, str, str]:
    name, layer_class = _printable(found.name), _printable(found.layer_class)
    if found.what:
        return f"{name}: {_printable(found.what)}", layer_class, "", ""
    share = f"{found.apart / found.scale:.3g}" if found.scale else "inf"
    return name, layer_class, f"{found.apart:.3g}", share


def _printable(text: str) -> str:
    """Return a text of a golden file, which anybody may have written, without terminal controls."""
    from runner.errors import short_line

    return short_line(text)


def _append(path: Path, name: str, wrong: list[GoldenChange]) -> None:
    """Append a table to a file in Markdown, such as the summary of a job of GitHub Actions."""
    rows = [_cells(found) for found in wrong[:_MOST_ROWS]]
    escaped = (" | ".join(re.sub(r"([|<>&`*_\\])", r"\\\1", cell) for cell in row) for row in rows)
    first = _printable(wrong[0].name).replace("`", "")
    lines = [
        f"### {name}: {len(wrong)} layers differ, first `{first}`",
        "",
        "| layer | class | max abs | of scale |",
        "|---|---|---|---|",
        *(f"| {row} |" for row in escaped),
        "",
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
