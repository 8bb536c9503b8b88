"""The base of all sources of probes: the keys that they share, and how a probe is opened.

A subclass of `ProbeSource` declares ``source: Literal["csv"]``, its name in the configuration, and
its other keys, each with its documentation below it. Its module is imported as soon as
a configuration chooses it; large libraries that only `open` needs are best imported there.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, get_args

from runner.config.strict import Strict
from runner.tensors import InputSpec

if TYPE_CHECKING:  # a configuration is checked without NumPy
    from runner.probe.probe import Probe

Layout = Literal["channels_last", "channels_first"]
"""The place of a picture's channels among its axes."""


class ProbeSource(Strict):
    """What every kind of probe has."""

    section_title = "Of every source"
    examples: ClassVar[Mapping[str, str]] = {"allow_nan": "probe.allow_nan=true"}

    order: ClassVar[int] = 100
    """Place among Runner's own sources in lists."""
    holds_samples: ClassVar[bool] = False
    """Whether its keys hold samples. A run writes these into a table, so that they cannot come
    from environment variables.
    """
    packages: ClassVar[tuple[str, ...]] = ()
    """Packages from which its samples come, besides those that every run uses. The record of a run
    has their versions, and a resumed sweep repeats a run if one of them has changed.
    """

    allow_nan: bool = False
    """Whether missing, NaN and infinite inputs are shown to the model rather than refused."""

    @classmethod
    def name(cls) -> str:
        """Return the value of ``source`` in the configuration."""
        [name] = get_args(cls.model_fields["source"].annotation)
        return str(name)

    @classmethod
    def section_name(cls) -> str:
        """Return the title of its section: its name, or that of the keys which all sources have."""
        return super().section_name() if cls is ProbeSource else cls.name()

    @classmethod
    def choice(cls) -> dict[str, Any]:
        """Return the keys that ``probe=NAME`` sets: all of them, so that none needs a plus.

        Required keys are ``???``, the others their default values.
        """
        required = [key for key, field in cls.model_fields.items() if field.is_required()]
        defaults = cls.model_construct().model_dump(mode="json")
        return {**dict.fromkeys(required, "???"), **defaults, "source": cls.name()}

    def laid_out(self, layout: Layout | None) -> Self:  # noqa: ARG002
        """Return the source for a model that takes pictures in a layout; ``None``: unknown."""
        return self

    @abstractmethod
    def open(self, expected: Sequence[InputSpec]) -> Probe:
        """Return the probe, not yet fitted to a model.

        Parameters
        ----------
        expected
            Inputs of the model; empty if unknown before it is called.

        Raises
        ------
        InputError
            If the probe cannot be read, with the key (``probe.path``) or the line of the file.
        """


def open_probe(
    source: ProbeSource,
    expected: Sequence[InputSpec],
    limits: Mapping[str, tuple[str, int]] | None = None,
) -> Probe:
    """Return the probe of a source, fitted to a model.

    Parameters
    ----------
    source
        Configuration of the probe.
    expected
        Inputs of the model; empty if unknown before it is called.
    limits
        As in `runner.probe.fitting.fit_to_model`.

    Raises
    ------
    InputError
        If the probe cannot be read, or does not fit the model.
    """
    from runner.probe.fitting import fit_to_model  # here, since it needs NumPy

    probe = source.open(expected)
    return fit_to_model(probe, expected, allow_nan=source.allow_nan, limits=limits)
