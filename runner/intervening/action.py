"""The base of all actions: what is done to the values of an output, and to which of them.

A subclass of `Action` declares a required key with the action's name, and its other keys, each
with its documentation below it.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import model_validator

from runner.config.cheap_keys import CHEAP
from runner.config.strict import Strict, checked, refuse
from runner.errors import Problem
from runner.intervening.places import EACH, EachOf

if TYPE_CHECKING:  # a configuration is checked without NumPy
    from runner.capture.arithmetic import Arithmetic
    from runner.intervening.changed_output import ChangedOutput, Numbers


def _finite_problems(number: float) -> Iterator[Problem]:
    if not math.isfinite(number):
        yield Problem("", f"expected a finite number, found {number}")


Finite = Annotated[float, checked(_finite_problems)]
"""A number that is neither infinite nor NaN."""


class Action(Strict):
    """What is done to the outputs of the layers that a pattern of `intervene` matches.

    A pattern is one of `capture.include`. The key of an action says what is done; these keys say
    to which of the values.
    """

    section_title = "Of every intervention"
    examples: ClassVar[Mapping[str, str]] = {
        "units": "intervene.hidden.units=[0,3] intervene.hidden.set=0",
        "heads": "intervene={hidden:{heads:[2],set:0}}",
        "positions": "intervene.hidden.positions=0-2 intervene.hidden.set=0",
    }

    order: ClassVar[int] = 100
    """Place among Runner's own actions in lists."""

    units: Annotated[EachOf | None, CHEAP] = None
    """Units, or channels, to change: a number, a list or a range such as `0-3`; `null`: all. With
    `each`, every unit is changed by itself: the run records the effect of each, and its tables
    hold the values without interventions.
    """
    heads: Annotated[EachOf | None, CHEAP] = None
    """Heads of attention layers to change, as for `units`: their values before the layer's output
    projection; `null`: the layer's output.
    """
    positions: Annotated[EachOf | None, CHEAP] = None
    """Positions of a sequence to change, as for `units`; `null`: all."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.heads is not None and self.units is not None:
            message = "are those of the layer's output, and heads are changed before it"
            refuse([Problem("units", message, "give one of them")])
        return self

    @classmethod
    def name(cls) -> str:
        """Return its key in the configuration."""
        [name] = [key for key, field in cls.model_fields.items() if field.is_required()]
        return name

    @classmethod
    def section_name(cls) -> str:
        """Return the title of its section: its name, or that of the keys which all actions have."""
        return super().section_name() if cls is Action else cls.name()

    @property
    def is_of_each(self) -> bool:
        """Whether every unit, head or position is changed by itself."""
        return EACH in (self.units, self.heads, self.positions)

    @property
    def over_probe(self) -> Literal["mean", "median"] | None:
        """The statistic of each unit over the probe, without interventions, if it needs one."""
        return None

    @property
    def from_run(self) -> tuple[str, Mapping[str, str]] | None:
        """The run to take values from, if any, and which sample to take for each sample."""
        return None

    @property
    @abstractmethod
    def did(self) -> str:
        """What was done, in words that follow ``was`` or ``were``: ``set to 0``."""

    @abstractmethod
    def numbers(self, output: ChangedOutput) -> Numbers:
        """Return the numbers that it uses to change an output.

        They enter the pass as arguments: as constants, a compiler would compute with them
        beforehand, and round otherwise.

        Raises
        ------
        InputError
            If what is configured does not fit the output.
        """

    @abstractmethod
    def changed(self, tensor: Any, numbers: Mapping[str, Any], arithmetic: Arithmetic) -> Any:
        """Return all values of an output, changed.

        Parameters
        ----------
        tensor
            The output in the pass, a tensor of any framework, of shape (sample, ...).
        numbers
            The numbers as tensors of the same dtype, which broadcast to the same shape.
        arithmetic
            The functions of `keras.ops`, for every library of models.
        """


def some_of(numbers: Sequence[float]) -> str:
    """Return the first of some numbers as text."""
    shown = ", ".join(f"{number:g}" for number in numbers[:4])
    return f"[{shown}{', ...' if len(numbers) > 4 else ''}]"
