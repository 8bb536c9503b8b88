"""Probes that a Python function returns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from runner.config.references import UNTYPED
from runner.config.strict import Function
from runner.config.user_code import function_of
from runner.probe.source import ProbeSource
from runner.tensors import InputSpec

if TYPE_CHECKING:
    from runner.probe.probe import Probe


class FunctionConfig(ProbeSource):
    """Data returned by Python code; naming it runs that code."""

    order = 100
    examples: ClassVar[dict[str, str]] = {
        "function": "probe=function probe.function=my_package.data:samples",
        "arguments": "+probe.arguments.n=10",
    }

    source: Literal["function"]
    function: Function
    """The callable, `package.module:name`, that returns arrays, a `tf.data.Dataset`, a `DataLoader`
    or `Dataset` of PyTorch, or a generator; sample ids and labels are given in a mapping, for all
    samples or for each batch.
    """
    arguments: Annotated[dict[str, Any], UNTYPED] = Field(default={})
    """Keyword arguments of the callable."""

    def open(self, _expected: Sequence[InputSpec]) -> Probe:
        """Return the probe of what the function returns.

        A pair is taken as inputs and targets; everything else is passed to `as_probe`. A function
        that returns a generator is called again each time the probe is read.
        """
        from runner.probe.memory_sources import as_probe

        make = function_of(self.function, self.arguments, "probe")
        made = make()
        if isinstance(made, Iterator):
            return as_probe(make, source=self.function)
        if isinstance(made, tuple) and len(made) == 2:
            return as_probe(made[0], targets=made[1], source=self.function)
        return as_probe(made, source=self.function)
