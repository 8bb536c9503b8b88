"""Accounts of ``keras.ops`` operations that only move values, such as ``transpose``."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from runner.arithmetic.account import Account, check_growth, not_covered, table_of
from runner.arithmetic.layer_call import LayerCall
from runner.arithmetic.operands import mixing

Place = tuple[int, ...]


def rearranged(call: LayerCall, place: Place, name: str) -> Account:
    """Return the account of a moved value, or of padding.

    The operation is applied to two samples of consecutive numbers: every number of the result
    must come from its own sample.
    """
    given, dtype = call.operands, call.dtype.type
    sizes = [one.values.size for one in given]
    whole = sum(sizes)
    starts = np.cumsum([0, *sizes])
    sources = [
        np.stack([np.arange(size) + start, np.arange(size) + start + whole]).reshape(
            2, *one.values.shape
        )
        for one, size, start in zip(given, sizes, starts, strict=False)
    ]
    try:
        moved = np.asarray(MOVES[name](call, sources))
    except (ValueError, IndexError, TypeError) as error:
        raise not_covered(call.name, f"such values of keras.ops.{name}") from error
    rows = moved.reshape(len(moved), -1) if moved.ndim else moved.reshape(1, 1)
    own = all(((row < 0) | (row // whole == at)).all() for at, row in enumerate(rows))
    if moved.shape != (2, *call.output.shape) or not own:
        raise mixing(call)
    source = int(moved[(0, *place)])
    if source < 0:
        entry: Any = np.asarray(call.wiring.settings.get("constant_values") or 0)
        label = "padding"
    else:
        which = int(np.searchsorted(starts, source, "right")) - 1
        one = given[which]
        at = tuple(map(int, np.unravel_index(source - starts[which], one.values.shape)))
        entry, label = one.values[at], one.label(at)
    terms = table_of([label], input=entry.astype(dtype))
    return Account(terms, [("output", dtype(entry))], float(entry), 0.0, 0, summed=False)


def _key(plain: Any) -> Any:
    """Return the key of ``x[key]`` from its JSON form."""
    if isinstance(plain, list):
        return tuple(map(_key, plain))
    if isinstance(plain, dict):
        return slice(*plain["slice"])
    return Ellipsis if plain == "..." else plain


def _split(call: LayerCall, x: np.ndarray) -> np.ndarray:
    number = call.run.tensor(call.name, "activation").output or "0"
    axis = call.arguments["axis"]
    return np.asarray(np.split(x, call.arguments["indices_or_sections"], axis)[int(number)])


def _padded(call: LayerCall, x: np.ndarray) -> np.ndarray:
    pairs = np.broadcast_to(call.arguments["pad_width"], (x.ndim, 2)).tolist()
    sizes = zip(x.shape, pairs, strict=True)
    _check(call, prod(size + before + after for size, (before, after) in sizes))
    if call.arguments.get("mode", "constant") != "constant":
        return np.pad(x, call.arguments["pad_width"], call.arguments["mode"])
    return np.pad(x, call.arguments["pad_width"], constant_values=-1)


def _repeated(call: LayerCall, x: np.ndarray) -> np.ndarray:
    repeats, axis = call.arguments["repeats"], call.arguments["axis"]
    length = x.size if axis is None else x.shape[axis]
    _check(call, sum(np.broadcast_to(repeats, (length,)).tolist()) * x.size // max(length, 1))
    return np.repeat(x, repeats, axis)


def _tiled(call: LayerCall, x: np.ndarray) -> np.ndarray:
    repeats = call.arguments["repeats"]
    _check(call, x.size * prod(repeats if isinstance(repeats, list) else [repeats]))
    return np.tile(x, repeats)


def _taken(call: LayerCall, x: np.ndarray) -> np.ndarray:
    indices, axis = np.asarray(call.wiring.settings["indices"]), call.arguments["axis"]
    _check(call, indices.size * (1 if axis is None else x.size // max(x.shape[axis], 1)))
    return np.take(x, indices, axis)


def _item(call: LayerCall, x: np.ndarray) -> np.ndarray:
    key = _key(call.wiring.settings["key"])
    parts = key if isinstance(key, tuple) else (key,)
    lists = [np.asarray(part) for part in parts if isinstance(part, tuple)]
    whole = x[tuple(slice(0, 1) if isinstance(part, tuple) else part for part in parts)]
    _check(call, whole.size * np.broadcast(*lists).size if lists else 0)
    return np.asarray(x[key])


def _check(call: LayerCall, size: int) -> None:
    """Check the size of two moved samples before they are made."""
    check_growth(size, 2 * call.output.size)


def _triangle(call: LayerCall, x: np.ndarray) -> np.ndarray:
    keep = np.tril if call.arguments["operation"] == "tril" else np.triu
    kept = keep(np.ones(x.shape, bool), call.arguments.get("k", 0))
    return np.where(kept, x, -1)


MOVES: dict[str, Callable[[LayerCall, list[np.ndarray]], Any]] = {
    "broadcast_to": lambda call, x: np.broadcast_to(x[0], (2, *call.output.shape)),
    "concatenate": lambda call, x: np.concatenate(x, call.arguments["axis"]),
    "expand_dims": lambda call, x: np.expand_dims(x[0], _axes(call.arguments["axis"])),
    "flip": lambda call, x: np.flip(x[0], _axes(call.arguments["axis"])),
    "get_item": lambda call, x: _item(call, x[0]),
    "moveaxis": lambda call, x: np.moveaxis(
        x[0], _axes(call.arguments["source"]), _axes(call.arguments["destination"])
    ),
    "pad": lambda call, x: _padded(call, x[0]),
    "repeat": lambda call, x: _repeated(call, x[0]),
    "reshape": lambda call, x: x[0].reshape(2, *call.output.shape),
    "roll": lambda call, x: np.roll(
        x[0], _axes(call.arguments["shift"]), _axes(call.arguments["axis"])
    ),
    "split": lambda call, x: _split(call, x[0]),
    "squeeze": lambda call, x: x[0].reshape(2, *call.output.shape),
    "stack": lambda call, x: np.stack(x, call.arguments["axis"]),
    "swapaxes": lambda call, x: np.swapaxes(x[0], call.arguments["axis1"], call.arguments["axis2"]),
    "take": lambda call, x: _taken(call, x[0]),
    "tile": lambda call, x: _tiled(call, x[0]),
    "transpose": lambda call, x: np.transpose(x[0], call.arguments.get("axes")),
    "tril": lambda call, x: _triangle(call, x[0]),
    "triu": lambda call, x: _triangle(call, x[0]),
}


def _axes(given: Any) -> Any:
    return tuple(given) if isinstance(given, list) else given
