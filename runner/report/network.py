"""The network's drawing: unit by unit if it is small, else layer by layer."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import Any

from runner.errors import DamagedError, InputError
from runner.record.layer_record import LayerRecord, TensorRecord
from runner.record.record import RunRecord
from runner.report.layer_view import packed
from runner.runs.published_run import Run
from runner.screen.dense import DenseCall
from runner.tensors import shape_text

_MOST_LEVELS = 40
_MOST_UNITS = 16
_MOST_DENSE = 8
_MOST_ROWS = 100_000
_FEW_LAYERS = 24  # fewer need no folding
_INPUT = "InputLayer"

# The part up to the first number, as in block_1_expand, conv2_block1_1_conv, layer.3.dense.
_NUMBERED = re.compile(r"(\D*\d+)[._-]?\D")


@dataclass(frozen=True)
class Block:
    """Consecutive layers whose paths have the same beginning.

    Attributes
    ----------
    name
        The common beginning.
    parts
        Layers and blocks inside, in call order.
    """

    name: str
    parts: list[LayerRecord | Block] = field(default_factory=list)

    @property
    def layers(self) -> int:
        """Number of layers, including those of the blocks inside."""
        return sum(part.layers if isinstance(part, Block) else 1 for part in self.parts)


def dense_chain(run: Run) -> dict[str, Any] | None:
    """Return the drawing's data of a small chain of Dense layers, ``None`` for other models.

    Returns
    -------
    dict
        ``inputs``, the names of the inputs; ``layers``, each with ``name``, ``activation``,
        ``kernel`` of shape (input, unit) and ``bias`` of shape (unit,).
    """
    probe = run.record.probe
    named = [layer for layer in run.record.layers if layer.layer_class != _INPUT]
    few = probe is not None and probe.rows <= _MOST_ROWS and 0 < len(named) <= _MOST_DENSE
    if not few or any(not _is_small(layer) for layer in named):
        return None
    try:
        calls = [DenseCall.read(run, layer.path) for layer in named]
    except DamagedError:
        raise
    except InputError:  # layers that cannot be explained are drawn layer by layer
        return None
    linked = all(after.source == before.name for before, after in pairwise(calls))
    if not linked or max(calls[0].kernel.shape) > _MOST_UNITS:
        return None
    layers = [
        {
            "name": call.name,
            "activation": call.activation,
            "kernel": packed(call.kernel),
            "bias": packed(call.bias),
        }
        for call in calls
    ]
    return {"inputs": [str(name) for name in calls[0].inputs.columns], "layers": layers}


def layer_tree(layers: Sequence[LayerRecord]) -> list[LayerRecord | Block]:
    """Return layers in call order, grouped into blocks by the beginnings of their paths.

    Many layers without paths are grouped by their names: consecutive layers whose names are
    the same up to the first number (``block_1_expand``) are a block.
    """
    called = sorted(
        (layer for layer in layers if layer.order is not None and layer.layer_class != _INPUT),
        key=_order,
    )
    inputs = [layer for layer in layers if layer.layer_class == _INPUT]
    rest = [layer for layer in layers if layer.order is None and layer.layer_class != _INPUT]
    parts = list(_nested(called, ""))
    if len(layers) > _FEW_LAYERS:
        parts = list(_numbered(parts))
    return [*inputs, *parts, *rest]


def feeders(record: RunRecord) -> dict[str, list[str]]:
    """Return the layers and inputs that each layer was called on, by the layer's path.

    A tensor that a Dropout returned unchanged counts as the Dropout's output for later calls.
    """
    owners = {call.name: layer.path for layer in record.layers for call in layer.calls}
    inputs = [layer.path for layer in record.layers if layer.layer_class == _INPUT]
    single = inputs[0] if len(inputs) == 1 else None
    handed_on = _handed_on(record)
    feeds: dict[str, list[str]] = {}
    for layer in record.layers:
        for call in layer.calls:
            merged = Counter(wire.tensor for wire in call.wires if "." in wire.argument)
            for wire in call.wires:
                source = wire.tensor or wire.model_input or ""
                known = owners.get(source) or owners.get(source.rpartition(":")[0])
                if known is None and wire.model_input is not None:
                    known = single or wire.model_input
                if known is None:
                    continue
                last = _last_before(layer, handed_on.get((source, _inside(layer)), []))
                # If x and its dropout are merged, one stands for the layer and one for the dropout.
                both = [known] if last is not None and merged[wire.tensor] > 1 else []
                feeds.setdefault(layer.path, []).extend([*both, last or known])
    return {layer: list(dict.fromkeys(sources)) for layer, sources in feeds.items()}


def _handed_on(record: RunRecord) -> dict[tuple[str, str], list[LayerRecord]]:
    """Return the layers that return a tensor unchanged, such as a Dropout, in call order.

    They are listed by the tensor and by their parent layer.
    """
    found: dict[tuple[str, str], list[LayerRecord]] = {}
    for layer in sorted(record.layers, key=_order):
        for tensor in layer.tensors:
            if tensor.kind == "activation" and tensor.alias_of is not None:
                found.setdefault((tensor.alias_of, _inside(layer)), []).append(layer)
    return found


def _last_before(layer: LayerRecord, others: Sequence[LayerRecord]) -> str | None:
    """Return the last of some layers, which are in call order, that is called before another."""
    before = bisect_left(others, _order(layer), key=_order)
    return others[before - 1].path if before else None


def _inside(layer: LayerRecord) -> str:
    return layer.path.rpartition("/")[0]


def _order(layer: LayerRecord) -> int:
    return layer.order or 0


def _is_small(layer: LayerRecord) -> bool:
    outputs = [tensor for tensor in layer.tensors if tensor.kind == "activation"]
    return (
        layer.layer_class == "Dense"
        and len(outputs) == 1
        and max(outputs[0].shape, default=0) <= _MOST_UNITS
    )


def _nested(
    layers: Sequence[LayerRecord], above: str, levels: int = _MOST_LEVELS
) -> Iterator[LayerRecord | Block]:
    """Yield layers, grouped by the next part of their paths; a block includes its own layer.

    Below `levels` levels, layers are not grouped any more.
    """
    if not levels:
        yield from layers
        return

    def block_of(layer: LayerRecord) -> str | None:
        inner, slash, _ = layer.path.removeprefix(above).partition("/")
        return inner if slash or layer.path in parents else None

    parents = {layer.path.rpartition("/")[0] for layer in layers}
    for name, own in groupby(layers, block_of):
        members = list(own)
        path = f"{above}{name}"
        if name is None or all(layer.path == path for layer in members):
            yield from members
            continue
        block = Block(path)
        itself = [layer for layer in members if layer.path == path]
        inside = [layer for layer in members if layer.path != path]
        block.parts.extend([*_nested(inside, f"{path}/", levels - 1), *itself])
        yield block


def _numbered(parts: Sequence[LayerRecord | Block]) -> Iterator[LayerRecord | Block]:
    def block_of(part: LayerRecord | Block) -> str | None:
        match = None if isinstance(part, Block) else _NUMBERED.match(part.path)
        return match[1] if match else None

    for name, own in groupby(parts, block_of):
        members = list(own)
        if name is None or len(members) < 3:
            yield from members
        else:
            yield Block(name, members)


def shape_of(tensor: TensorRecord) -> str:
    """Return the stored shape of a sample as text: ``8 x 8 x 3``, or ``3 (mean)`` if reduced."""
    reduced = f" ({tensor.reduction})" if tensor.reduction is not None else ""
    return shape_text(tensor.shape) + reduced


def drawn_edges(feeds: Mapping[str, list[str]], layers: Sequence[LayerRecord]) -> list[list[str]]:
    """Return pairs of layers in which the second is called on the output of the first."""
    known = {layer.path for layer in layers}
    return [
        [source, layer]
        for layer, sources in feeds.items()
        for source in sources
        if {source, layer} <= known
    ]
