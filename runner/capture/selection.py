"""The selection of tensors to keep, and their reductions."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field

from runner.config.capture_config import CaptureConfig
from runner.errors import SHOWN, InputError, Problem, suggest
from runner.tensors import Kind, TensorSpec

_CLASS = "class:"

_INDEX = re.compile(r"@\d+")  # of a call; it may be missing

_PATTERNS = 20_000
"""Number of patterns whose parts are kept: each tensor is compared with all patterns."""

_Part = str | re.Pattern[str]


@dataclass(frozen=True)
class Selection:
    """Which tensors a capture keeps, and in which form.

    A pattern is a name, a glob (``*`` stops at ``/``, ``**`` crosses it) or
    ``class:Conv2D``, a glob on the name of the layer's class. It is matched against a
    tensor's name and its layer's path. A part without ``@`` matches every call; ``dense@0``
    is the first call of a layer, also if there is no other. If several patterns of ``reduce``
    match, the last one is used.

    Attributes
    ----------
    include, exclude
        A tensor is kept if a pattern of ``include`` matches it and none of ``exclude``.
    kinds
        The kinds to keep.
    reduce
        Pattern to reduction (see `runner.capture.reductions`).
    dtype
        Dtype to cast floating-point activations to before they are stored, or ``None``.
    outputs
        Whether what the model itself returns is kept as well.
    """

    include: tuple[str, ...] = ("**",)
    exclude: tuple[str, ...] = ()
    kinds: frozenset[Kind] = frozenset(("activation", "weight"))
    reduce: Mapping[str, str] = field(default_factory=dict)
    dtype: str | None = None
    outputs: bool = False

    @classmethod
    def of(cls, capture: CaptureConfig) -> Selection:
        """Return the selection of the capture options."""
        return cls(
            tuple(capture.include),
            tuple(capture.exclude),
            frozenset(capture.kinds),
            dict(capture.reduce),
            capture.dtype,
        )

    def keeps(self, spec: TensorSpec) -> bool:
        """Return whether a tensor is kept."""
        return (
            spec.kind in self.kinds
            and any(fits(pattern, spec) for pattern in self.include)
            and not any(fits(pattern, spec) for pattern in self.exclude)
        )

    def reduction(self, spec: TensorSpec) -> str | None:
        """Return the reduction of a tensor, ``None`` if it is stored whole."""
        chosen: str | None = None
        for pattern, reduction in self.reduce.items():
            if fits(pattern, spec):
                chosen = reduction
        return None if chosen == "none" else chosen

    def check(
        self, specs: Iterable[TensorSpec], refused: Iterable[tuple[TensorSpec, str]] = ()
    ) -> None:
        """Check that every pattern matches a tensor of the model.

        Parameters
        ----------
        specs
            The tensors that can be captured.
        refused
            The tensors that cannot, each with its name and the reason in words. A pattern may
            exclude them.

        Raises
        ------
        InputError
            One problem per pattern, which names the layers of the model, or the reason why the
            matching tensor cannot be captured.
        """
        specs, refused = list(specs), list(refused)
        names = list(dict.fromkeys(spec.layer_path for spec in specs))
        shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
        groups: dict[str, Iterable[str]] = {
            "capture.include": self.include,
            "capture.exclude": self.exclude,
            "capture.reduce": self.reduce,
        }
        problems: list[Problem] = []
        for place, patterns in groups.items():
            for pattern in patterns:
                if any(fits(pattern, spec) for spec in specs):
                    continue
                why = next((why for one, why in refused if fits(pattern, one)), "")
                if not why:
                    near = suggest(pattern, names) if len(problems) < SHOWN else ""
                    advice = near or f"layers are: {shown}"
                    problems.append(Problem(place, f"'{pattern}' matches no layer", advice))
                elif place != "capture.exclude":
                    said = f"'{pattern}' matches nothing that can be captured"
                    problems.append(Problem(place, said, why))
        if problems:
            raise InputError(problems)


def fits(pattern: str, spec: TensorSpec) -> bool:
    """Return whether a pattern matches a tensor (see `Selection`)."""
    if pattern.startswith(_CLASS):
        return _match(_glob(pattern.removeprefix(_CLASS)), spec.layer_class)
    return _match(_glob(pattern), spec.layer_path) or _match(_calls(pattern), spec.name)


@functools.lru_cache(_PATTERNS)
def _glob(pattern: str) -> tuple[_Part, ...]:
    """Return the parts of a pattern: wildcards, and texts between them."""
    return tuple(filter(None, re.split(r"(\*\*/?|\*|\?)", pattern)))


@functools.lru_cache(_PATTERNS)
def _calls(pattern: str) -> tuple[_Part, ...]:
    """Return the parts of a pattern for names in which every call may have an index."""
    found: list[_Part] = []
    for part in re.split(r"(?<=[^*])([/:])", pattern):
        found += _glob(part)
        if part not in ("/", ":") and "@" not in part:
            found.append(_INDEX)
    return tuple(found)


def _match(parts: Iterable[_Part], text: str) -> bool:
    """Return whether a text is made of these parts.

    All places that a part can end at are followed at once. A regular expression tries one after
    the other, which takes hours for many wildcards.
    """
    ends: Set[int] = {0}
    for part in parts:
        ends = _ends(part, text, ends)
        if not ends:
            return False
    return len(text) in ends


def _ends(part: _Part, text: str, starts: Set[int]) -> Set[int]:
    """Return where a part of a pattern can end if it begins at one of some places of a text."""
    if isinstance(part, re.Pattern):
        return starts | {one.end() for start in starts if (one := part.match(text, start))}
    if part == "?":
        return {start + 1 for start in starts if text[start : start + 1] not in ("", "/")}
    if part == "*":
        found = set[int]()
        for start in sorted(starts):
            if start not in found:
                slash = text.find("/", start)
                found.update(range(start, (len(text) if slash < 0 else slash) + 1))
        return found
    if part == "**":
        return {*range(min(starts), len(text) + 1)}
    if part == "**/":
        first = min(starts)
        return starts | {end for end in range(first + 1, len(text) + 1) if text[end - 1] == "/"}
    return {start + len(part) for start in starts if text.startswith(part, start)}
