"""Runs changed and sealed again, as anybody can who sends one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import ipc
from pyarrow import parquet as pq

from runner.record.record import DIGEST, sealed

Edit = Callable[[dict[str, Any]], Any]


def forge(folder: Path, edit: Edit) -> Path:
    """Change a record and seal it again."""
    record = json.loads((folder / "run.json").read_text("utf-8"))
    del record["record_sha256"]
    edit(record)
    text = json.dumps(record, indent=2).encode()
    (folder / "run.json").write_bytes(sealed(text.removesuffix(b"\n}") + b",\n" + DIGEST))
    return folder


def put_file(folder: Path, name: str, data: bytes) -> Path:
    """Put another file in the place of a run's own, and its digest into the record."""
    (folder / name).write_bytes(data)
    digest = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    def edit(record: dict[str, Any]) -> None:
        if name in record["files"]:
            record["files"][name] = digest
        for layer in record["layers"]:
            for tensor in layer["tensors"]:
                if tensor["file"] == name:
                    tensor.update(digest)

    return forge(folder, edit)


def tensor_of(record: dict[str, Any], place: int = 0) -> dict[str, Any]:
    """Return the first tensor of a layer."""
    tensor: dict[str, Any] = record["layers"][place]["tensors"][0]
    return tensor


def parquet(table: pa.Table, **how: Any) -> bytes:
    """Return a Parquet file, written as Runner writes it unless told otherwise."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **{"compression": "none", "use_dictionary": False, **how})
    return sink.getvalue().to_pybytes()


def arrow(table: pa.Table, compression: str | None = None) -> bytes:
    """Return an Arrow file."""
    sink = pa.BufferOutputStream()
    options = ipc.IpcWriteOptions(compression=compression)
    with ipc.new_file(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()
