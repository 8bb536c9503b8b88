"""The iris flowers of scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from runner.config.strict import RECORDED, Length
from runner.probe.scikit_learn import data_set
from runner.probe.source import ProbeSource
from runner.tensors import InputSpec

if TYPE_CHECKING:
    from runner.probe.probe import Probe


class IrisConfig(ProbeSource):
    """The first `rows` of the 150 iris flowers that come with scikit-learn."""

    order = 80
    packages = ("scikit-learn",)
    examples: ClassVar[dict[str, str]] = {"rows": "probe=iris probe.rows=100"}

    source: Literal["iris"]
    rows: Annotated[Length | None, RECORDED] = None
    """Number of samples; `null`: all."""

    def open(self, _expected: Sequence[InputSpec]) -> Probe:
        """Return the lengths and widths of sepals and petals in centimetres."""
        from runner.probe.memory_sources import array_probe

        data, rows = data_set("iris", self.rows)
        labels = data.target_names[data.target].astype(object)
        return array_probe(
            "iris (scikit-learn)",
            data.data[rows].astype("float32"),
            None,
            labels[rows],
            data.target[rows],
        )
