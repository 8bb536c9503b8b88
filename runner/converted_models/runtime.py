"""A runtime that computes models in files of a format of its own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.errors import InputError

if TYPE_CHECKING:  # a configuration is checked without NumPy
    from runner.converted_models.graph import ConvertedModel


@dataclass(frozen=True)
class Runtime:
    """A runtime, which reads and computes the models in files of one format.

    Attributes
    ----------
    suffix
        The end of the names of its files, in lower case.
    format
        The name of the format, as it stands in texts.
    packages
        The packages that read and compute such a file, each with what pip installs for it. Their
        versions are part of a run's fingerprint.
    converters
        Further packages with which a model of Keras is converted to the format, likewise; empty:
        it cannot be.
    order
        Place among Runner's own runtimes in lists.
    """

    suffix: str
    format: str
    packages: Mapping[str, str] = field(default_factory=dict)
    converters: Mapping[str, str] = field(default_factory=dict)
    order: int = 100

    @abstractmethod
    def load(self, path: Path) -> ConvertedModel:
        """Return the model in a file.

        Raises
        ------
        InputError
            If the runtime cannot read it.
        """

    def data_files(self, path: Path) -> list[Path]:  # noqa: ARG002
        """Return the other files that a model's file takes data from.

        It may raise any error for a file that cannot be loaded.
        """
        return []

    def convert(self, model: Any, path: Path) -> None:
        """Write a model of Keras on TensorFlow as a file; raise any error if it cannot be done."""
        raise NotImplementedError(f"to {self.format}")

    @property
    def is_installed(self) -> bool:
        """Whether its packages are installed."""
        return all(map(_is_importable, self.packages))

    def check_installed(self, place: str, *, to_convert: bool = False) -> None:
        """Check that its packages are installed.

        Parameters
        ----------
        place
            The key or argument that asks for them.
        to_convert
            Whether a model is also to be converted.

        Raises
        ------
        InputError
            With the first package that is not, and what to type.
        """
        for package, requirement in {
            **(self.converters if to_convert else {}),
            **self.packages,
        }.items():
            if not _is_importable(package):
                needs = "converting a model to" if package in self.converters else "a model in"
                message = f"{needs} {self.format} needs {package}"
                raise InputError.missing(place, message, requirement)


def _is_importable(package: str) -> bool:
    """Return whether a package whose module has its name is installed."""
    return find_spec(package.replace("-", "_")) is not None
