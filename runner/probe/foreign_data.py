"""Data of other libraries, in the form that a probe takes; imports none of them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from typing import Any

# Package, class in it, and the module of Runner whose function `converted` takes its objects.
_KNOWN = (
    ("torch", "Tensor", "runner.torch_modules.torch_data"),
    ("torch", "utils.data.DataLoader", "runner.torch_modules.torch_data"),
    ("torch", "utils.data.Dataset", "runner.torch_modules.torch_data"),
)


def converted(x: Any) -> Any:
    """Return data with arrays and functions in place of tensors, data sets and data loaders."""
    if isinstance(x, Mapping):
        return {name: converted(x[name]) for name in x} if any(map(_reader, x.values())) else x
    if isinstance(x, (list, tuple)):
        return [converted(part) for part in x] if any(map(_reader, x)) else x
    reader = _reader(x)
    return x if reader is None else importlib.import_module(reader).converted(x)


def _reader(x: Any) -> str | None:
    for package, name, reader in _KNOWN:
        found: Any = sys.modules.get(package)
        for part in name.split("."):
            found = getattr(found, part, None)
        if isinstance(found, type) and isinstance(x, found):
            return reader
    return None
