"""The tables that an experiment would write, as text for ``dry_run``."""

from __future__ import annotations

import io
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from runner.preflight import estimated_bytes
from runner.sizes import readable
from runner.tensors import KINDS, TensorSpec, shape_text


def plan(
    specs: Iterable[TensorSpec],
    rows: int | None,
    table_format: str,
    times: int = 1,
    id_bytes: int = 8,
) -> str:
    """Return the tables to be written and their sizes as text, one table per line.

    If `rows` is unknown before the probe is read, sizes are those of one sample; `times`
    and `id_bytes` as in `runner.preflight.check_size`.
    """
    specs = list(specs)
    sizes = [times * estimated_bytes(spec, rows or 1, table_format, id_bytes) for spec in specs]
    table = Table("table", "class", "shape", "dtype", "size", box=None)
    table.columns[-1].justify = "right"
    for spec, size in zip(specs, sizes, strict=True):
        shape = shape_text(spec.shape)
        table.add_row(
            Text(f"{KINDS[spec.kind].folder}/{spec.name}"),
            Text(spec.layer_class),
            shape,
            spec.dtype,
            readable(size),
        )
    text = io.StringIO()
    Console(width=100, file=text).print(table)
    written = "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())
    samples = f"{rows:,} samples" if rows is not None else "each sample"
    if times > 1:
        samples += f" at {times} steps"
    return (
        f"{written}\n{len(specs)} tables, about {readable(sum(sizes))} for {samples} as "
        f"{table_format}; nothing was written (dry_run=true)\n"
    )
