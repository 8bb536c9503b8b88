"""The capture options: which tensors of a model are kept, and how."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, ClassVar, Literal, TypedDict

from pydantic import Field

from runner.capture.reductions import described, reduction_of
from runner.config.strict import RECORDED, Length, Strict, checked
from runner.errors import InputError, Problem
from runner.tensors import KINDS, Kind, OnNan


def _reduction_problems(name: str) -> Iterator[Problem]:
    try:
        reduction_of(name)
    except InputError as error:
        yield from error.problems


class CaptureConfig(Strict):
    """Which tensors are kept, and how."""

    section_title = "What is kept"
    examples: ClassVar[dict[str, str]] = {
        "include": "experiment=digits_cnn capture.include=[conv*,class:Dense]",
        "exclude": "capture.exclude=[output]",
        "kinds": "capture.kinds=[activation,pre_activation]",
        "reduce": "capture.reduce={conv_1:mean}",
        "batch_size": "capture.batch_size=32",
        "training": "capture.training=true",
        "dtype": "capture.dtype=float16",
        "max_bytes": "capture.max_bytes=1000000000",
        "on_nan": "capture.on_nan=fail",
    }

    include: list[str] = Field(default=["**"])
    """Patterns of the layers to keep: a path, a glob of paths (`*` stops at a slash, `**` does not)
    or a glob of classes (`class:Conv*`).
    """
    exclude: list[str] = Field(default=[])
    """Patterns of the layers to leave out."""
    kinds: list[Kind] = Field(
        default=["activation", "weight"],
        description=f"Kinds of tensors to keep: {', '.join(one.about for one in KINDS.values())}.",
    )
    reduce: dict[str, Annotated[str, checked(_reduction_problems)]] = Field(
        default={},
        description=f"""Reductions of activations before they are stored, by pattern: {described()}.
If several patterns match, the last one applies. On the command line a colon in a pattern is written
`\\:`.
""",
    )
    batch_size: Annotated[Length, RECORDED] = 240
    """Number of samples in a batch. It is rounded up to a multiple of 48 if that is cheap and the
    samples do not depend on each other, so that all values are rounded alike. The record says for
    each tensor whether its values depend on the batch.
    """
    training: bool = False
    """Whether layers behave as in training (Dropout drops, BatchNormalization uses the batch)."""
    dtype: Literal["float16", "bfloat16", "float32", "float64"] | None = None
    """Data type of the stored activations; `null`: as computed."""
    max_bytes: Length = 10 * 2**30
    """Largest size of a run's tables in bytes; a larger run is refused."""
    on_nan: OnNan = "keep"
    """What to do about NaN and infinite values. They are always stored unchanged, counted and
    shown; `warn` also names their tensors on stderr, and `fail` ends the run without its tables.
    """


class ShowingOptions(TypedDict, total=False):
    """The keys of `CaptureConfig` that say how values are computed, as keyword arguments."""

    include: Iterable[str]
    exclude: Iterable[str]
    reduce: Mapping[str, str] | None
    dtype: str | None
    batch_size: int
    training: bool


class CaptureOptions(ShowingOptions, total=False):
    """The keys of `CaptureConfig` as keyword arguments of Python functions."""

    kinds: Iterable[Kind]
    max_bytes: int
    on_nan: OnNan
