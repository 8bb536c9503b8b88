"""What a configuration refers to outside itself, told by the type of a value."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from runner.errors import InputError, Problem
from runner.regular_files import folder, regular_file

UNTYPED = "untyped"
"""Marks a field of plain data for somebody's code: a text in it may name a file."""


class Reference(str):
    """A text that names something outside the configuration; relative to where Runner is started.

    Declared as the type of a key, it is also the type of its value. Whatever must know what
    a run depends on (its fingerprint, the check that files are there, the page of all keys)
    asks for the type and for no name of a key.
    """

    noun: ClassVar[str]

    def check(self, place: str) -> None:
        """Refuse what is not there.

        Parameters
        ----------
        place
            Path of the key.

        Raises
        ------
        InputError
            Which names the folder that it was looked up from.
        """

    @property
    def content(self) -> Path | None:
        """The file or folder that a run depends on; ``None`` where there is none."""
        return Path(self)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Take any text."""
        return core_schema.no_info_after_validator_function(cls, core_schema.str_schema())

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Say that it is a text, and what it names."""
        return {**handler(core_schema.str_schema()), "format": cls.noun}


class InputFile(Reference):
    """A file that a run reads."""

    noun = "file"

    def check(self, place: str) -> None:
        """Refuse what is no regular file."""
        regular_file(self, place)


class InputFolder(Reference):
    """A folder of which a run reads every file."""

    noun = "folder"

    def check(self, place: str) -> None:
        """Refuse what is no folder."""
        folder(self, place)


class OutputPath(Reference):
    """A path that a run writes to, below its own folder."""

    noun = "path"

    @property
    def content(self) -> Path | None:
        """Nothing that a run depends on."""
        return None


class ModuleName(Reference):
    """A Python module, or with ``:name`` something in one, whose code runs."""

    noun = "module"

    @property
    def content(self) -> Path | None:
        """The module's own file, without those that it imports."""
        look_in_working_directory()
        try:
            spec = importlib.util.find_spec(self.partition(":")[0])
        except (ImportError, ValueError):
            return None
        return None if spec is None or spec.origin is None else Path(spec.origin)


class PossibleFile(Reference):
    """A text for somebody's code, which names a file if there is one."""

    noun = "text"

    @property
    def content(self) -> Path | None:
        """The file; a folder of that name is left out."""
        try:
            return Path(self) if Path(self).is_file() else None
        except (OSError, ValueError):  # too long for a path, or with a NUL
            return None


def references_in(
    config: Any, place: str = "", *, untyped: bool = False
) -> Iterator[tuple[str, Reference]]:
    """Yield all that a part of a validated configuration refers to, each with its key path.

    Parameters
    ----------
    config
        A model of pydantic's, or a value in one.
    place
        Path of its key.
    untyped
        Whether it is plain data for somebody's code, in which any text may name a file.
    """
    if isinstance(config, Reference):
        yield place, config
    elif isinstance(config, str):
        if untyped:
            yield place, PossibleFile(config)
    elif isinstance(config, BaseModel):
        for name, field in type(config).model_fields.items():
            below = f"{place}.{name}" if place else name
            marked = UNTYPED in field.metadata
            yield from references_in(getattr(config, name), below, untyped=marked)
        yield from references_in(config.__pydantic_extra__ or {}, place, untyped=True)
    elif isinstance(config, Mapping):
        for key, value in config.items():
            below = f"{place}.{key}" if place else str(key)
            yield from references_in(value, below, untyped=untyped)
    elif isinstance(config, (list, tuple)):
        for position, value in enumerate(config):
            yield from references_in(value, f"{place}.{position}", untyped=untyped)


def check_references(config: BaseModel) -> None:
    """Refuse a configuration that refers to files which are not there.

    Raises
    ------
    InputError
        With one problem for each.
    """
    problems: list[Problem] = []
    for place, reference in references_in(config):
        try:
            reference.check(place)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)


def look_in_working_directory() -> None:
    """Let Python find modules in the working directory, as ``python -m`` does."""
    directory = str(Path.cwd())
    if directory not in sys.path:
        sys.path.insert(0, directory)
