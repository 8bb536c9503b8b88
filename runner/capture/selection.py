"""The selection of tensors to keep, and their reductions."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from runner.config.capture_config import CaptureConfig
from runner.errors import InputError, Problem, suggest
from runner.tensors import Kind, TensorSpec

_CLASS = "class:"


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
    """

    include: tuple[str, ...] = ("**",)
    exclude: tuple[str, ...] = ()
    kinds: frozenset[Kind] = frozenset(("activation", "weight"))
    reduce: Mapping[str, str] = field(default_factory=dict)
    dtype: str | None = None

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
            and any(_fits(pattern, spec) for pattern in self.include)
            and not any(_fits(pattern, spec) for pattern in self.exclude)
        )

    def reduction(self, spec: TensorSpec) -> str | None:
        """Return the reduction of a tensor, ``None`` if it is stored whole."""
        chosen: str | None = None
        for pattern, reduction in self.reduce.items():
            if _fits(pattern, spec):
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
        problems = []
        for place, patterns in groups.items():
            for pattern in patterns:
                if any(_fits(pattern, spec) for spec in specs):
                    continue
                why = next((why for one, why in refused if _fits(pattern, one)), "")
                if not why:
                    advice = suggest(pattern, names) or f"layers are: {shown}"
                    problems.append(Problem(place, f"'{pattern}' matches no layer", advice))
                elif place != "capture.exclude":
                    said = f"'{pattern}' matches nothing that can be captured"
                    problems.append(Problem(place, said, why))
        if problems:
            raise InputError(problems)


def _fits(pattern: str, spec: TensorSpec) -> bool:
    if pattern.startswith(_CLASS):
        return _glob(pattern.removeprefix(_CLASS)).fullmatch(spec.layer_class) is not None
    return (
        _glob(pattern).fullmatch(spec.layer_path) is not None
        or _calls(pattern).fullmatch(spec.name) is not None
    )


@functools.lru_cache
def _glob(pattern: str) -> re.Pattern[str]:
    return re.compile(_expression(pattern), re.DOTALL)


@functools.lru_cache
def _calls(pattern: str) -> re.Pattern[str]:
    """Return the expression for names in which every call may have an index."""
    parts = re.split(r"(?<=[^*])([/:])", pattern)
    expressions = [
        part if part in ("/", ":") else _expression(part) + ("" if "@" in part else r"(?:@\d+)?")
        for part in parts
    ]
    return re.compile("".join(expressions), re.DOTALL)


def _expression(pattern: str) -> str:
    wild = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/?|\*|\?)", pattern)
    return "".join(wild.get(part) or re.escape(part) for part in parts)
