"""What a model is shown: one class for each kind of probe."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, model_validator

from runner.config.arguments import join
from runner.config.strict import Function, Length, Seed, Strict, expecting, refuse
from runner.errors import Problem


class ProbeSource(Strict):
    """What every probe may say."""

    allow_nan: bool = False


class TutorialConfig(ProbeSource):
    """The tutorial's three samples and targets."""

    source: Literal["tutorial"]


class InlineConfig(ProbeSource):
    """Samples written out in the configuration."""

    source: Literal["inline"]
    inputs: Annotated[
        list[Any] | dict[str, list[Any]],
        expecting("a list of samples, or a mapping from input to such a list"),
    ]
    ids: Annotated[list[int] | list[str], expecting("whole numbers, or texts")] | None = None
    labels: list[Any] | None = None
    targets: list[Any] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        refuse(self._problems())
        return self

    def _problems(self) -> Iterator[Problem]:
        named = self.inputs if isinstance(self.inputs, dict) else {"": self.inputs}
        rows = len(next(iter(named.values()), []))
        others = {"ids": self.ids, "labels": self.labels, "targets": self.targets}
        sized = {join("inputs", name): samples for name, samples in named.items()} | others
        for key, values in sized.items():
            if values is not None and len(values) != rows:
                yield Problem(key, f"expected one for each of {rows} samples, found {len(values)}")


class _TableConfig(ProbeSource):
    path: str
    id_column: str | None = None
    label_column: str | None = None
    target_columns: list[str] = Field(default=[])
    input_columns: list[str] | None = None


class CsvConfig(_TableConfig):
    """A text file with one sample a row.

    Columns ``id`` and ``label`` have their meaning unless others are named; all that are
    left are inputs.
    """

    source: Literal["csv"]
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    header: bool = True
    encoding: str = "utf-8"


class ParquetConfig(_TableConfig):
    """A Parquet table with one sample a row; columns as in `CsvConfig`."""

    source: Literal["parquet"]


class NpyConfig(ProbeSource):
    """One NumPy array, samples first; ids, labels and targets in files of their own."""

    source: Literal["npy"]
    path: str
    ids_path: str | None = None
    labels_path: str | None = None
    targets_path: str | None = None
    max_bytes: Length = 10 * 2**30


class NpzConfig(ProbeSource):
    """Several NumPy arrays in one file, named as the model's inputs."""

    source: Literal["npz"]
    path: str
    max_bytes: Length = 10 * 2**30


class ImagesConfig(ProbeSource):
    """A folder of pictures; the folder inside it that holds one is its label."""

    source: Literal["images"]
    path: str
    scale: Literal["0-1", "0-255"] = "0-1"


class DigitsConfig(ProbeSource):
    """Handwritten digits from scikit-learn; the first `rows` of them."""

    source: Literal["digits"]
    rows: Length | None = None


class IrisConfig(ProbeSource):
    """Flowers from scikit-learn; the first `rows` of them."""

    source: Literal["iris"]
    rows: Length | None = None


class RandomConfig(ProbeSource):
    """Random numbers; whole ones from 0 to below `high` for inputs that are integers."""

    source: Literal["random"]
    rows: Length
    seed: Seed = 0
    distribution: Literal["normal", "uniform"] = "normal"
    high: Length = 10


class FunctionConfig(ProbeSource):
    """What Python code returns; naming it runs that code."""

    source: Literal["function"]
    function: Function
    arguments: dict[str, Any] = Field(default={})


ProbeConfig = Annotated[
    TutorialConfig
    | InlineConfig
    | CsvConfig
    | NpyConfig
    | NpzConfig
    | ParquetConfig
    | ImagesConfig
    | DigitsConfig
    | IrisConfig
    | RandomConfig
    | FunctionConfig,
    Field(discriminator="source"),
]

SOURCES: dict[str, type[ProbeSource]] = {
    get_args(probe.model_fields["source"].annotation)[0]: probe
    for probe in get_args(get_args(ProbeConfig)[0])
}
"""What `source` can be, and the class of each."""
