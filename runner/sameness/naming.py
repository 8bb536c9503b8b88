"""Finds the layers that the names of another run's operations mention, as converters write them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from math import prod

from runner.record.layer_record import TensorRecord

_Words = tuple[str, ...]
_Key = tuple[str, str]
"""A call of a layer, and what it returns: of tensors with names."""

_WAYS = ((False, False), (False, True), (True, True))
"""Whether numbers at the end of a word are left out, for each run: they make names unique."""


def go_by_names(mine: Collection[str], theirs: Collection[str]) -> bool:
    """Return whether the activations of two runs belong together by their names.

    At least half of those of a run are then in the other; a few may have a name by chance.
    """
    least = min(len({*mine}), len({*theirs}))
    return 2 * len({*mine} & {*theirs}) >= least


class Names:
    """Which tensors of two runs belong together by their names.

    A converter joins the names of the layers that it fused: ``net/relu_1/Relu;net/conv_1/add``. The
    operation returns what the last of them returns. Where a layer became several operations, the
    last of these returns what the layer does, unless it was fused with those of the next layer.

    Parameters
    ----------
    mine, theirs
        Tensors of one kind of the two runs, each in call order.
    reads
        The activations that each call of a layer of the first run reads.
    """

    def __init__(
        self,
        mine: Sequence[TensorRecord],
        theirs: Sequence[TensorRecord],
        reads: Mapping[str, Sequence[str]],
    ) -> None:
        self._layers = max((_layers_in(mine, theirs, way) for way in _WAYS), key=len)
        places = {_key(tensor): place for place, tensor in enumerate(mine)}
        sizes = {_key(tensor): prod(tensor.shape) for tensor in mine}
        self._own: dict[str, _Key] = {}
        self._last: dict[_Key, str] = {}
        for other in theirs:
            if layers := self._layers.get(other.name):
                own = max(layers, key=lambda key: places[key])
                self._own[other.name] = own
                if sizes[own] == prod(other.shape):
                    self._last[own] = other.name
                fused = [own]
                for key in fused:  # the last operation of those that are read is within this one
                    before = {_key_of(name) for name in reads.get(key[0], ())} & {*layers}
                    fused += before.difference(fused)
                for key in fused[1:]:
                    self._last.pop(key, None)
        self._named = {*self._last} | {
            key for name, keys in self._layers.items() for key in keys if key != self._own[name]
        }

    def agree(self, a: TensorRecord, b: TensorRecord) -> bool:
        """Return whether two tensors belong together by their names.

        The name of a weight says only which layer it is of.
        """
        if a.per_sample:
            return self._last.get(_key(a)) == b.name
        return _key(a) in self._layers.get(b.name, ())

    def deny(self, a: TensorRecord, b: TensorRecord) -> bool:
        """Return whether a tensor, by its name, is inside what a layer became, not its result."""
        own = _key(a)
        return a.per_sample and self._own.get(b.name) == own and self._last.get(own) != b.name

    def tell(self, tensor: TensorRecord) -> bool:
        """Return whether the names of the two runs say where a tensor of either belongs."""
        return tensor.name in self._layers or _key(tensor) in self._named


def _layers_in(
    mine: Sequence[TensorRecord], theirs: Sequence[TensorRecord], way: tuple[bool, bool]
) -> Mapping[str, list[_Key]]:
    """Return the layers of the first run that the names of the second mention.

    A name that several layers have identifies none of them.
    """
    keys = dict.fromkeys(_key(tensor) for tensor in mine)
    paths = {_key(tensor): tensor.layer_path for tensor in mine}
    words = {key: (_words(paths[key], is_shortened=way[0]), key[1]) for key in keys}
    counts = Counter(words.values())
    known = {each: key for key, each in words.items() if counts[each] == 1}
    most = max((len(path) for path, _ in known), default=0)
    found: dict[str, list[_Key]] = {}
    for other in theirs:
        output = _key(other)[1]
        for part in other.layer_path.split(";"):
            spans = _spans(_words(part, is_shortened=way[1]), most)
            key = next((known[span, output] for span in spans if (span, output) in known), None)
            if key is not None:
                found.setdefault(other.name, []).append(key)
    return found


def _key(tensor: TensorRecord) -> _Key:
    if not tensor.per_sample:
        return tensor.layer_path, ""
    return _key_of(tensor.name)


def _key_of(name: str) -> _Key:
    call, _, output = name.partition(":")
    return call, output


def _spans(words: _Words, most: int) -> Iterator[_Words]:
    """Yield the parts of a path, the longest first."""
    for size in range(min(most, len(words)), 0, -1):
        for start in range(len(words) - size + 1):
            yield words[start : start + size]


def _words(path: str, *, is_shortened: bool) -> _Words:
    """Return the words of a path, with or without numbers that make them unique: ``dense_1``."""
    words = (part.casefold() for part in re.split(r"[/.]", path))
    return tuple(re.sub(r"_\d+$", "", word) if is_shortened else word for word in words)
