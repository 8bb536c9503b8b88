"""Tables of figures in BENCHMARKS.md, each between two comments that name it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

PAGE = Path(__file__).parent.parent / "BENCHMARKS.md"


def put(name: str, text: str, page: Path = PAGE) -> None:
    """Replace what stands between ``<!-- name -->`` and ``<!-- /name -->``."""
    before = page.read_text(encoding="utf-8")
    between = re.compile(f"(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)", re.DOTALL)
    if not between.search(before):
        raise ValueError(f"{page.name} has no place for {name}")
    page.write_text(between.sub(lambda _: f"\n{text}\n", before), encoding="utf-8")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
