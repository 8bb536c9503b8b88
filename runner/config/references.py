"""References of a configuration to files, folders and modules, marked by their type."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from runner.errors import InputError, Problem
from runner.given_files import given_file
from runner.given_folders import given_folder, given_place
from runner.local_paths import URL
from runner.regular_files import regular_file
from runner.store_urls import StoreUrl, store_url

UNTYPED = "untyped"
"""Marks a field of plain data that is passed to user code: a text in it may name a file."""


class Reference(str):
    """A text that names something outside the configuration, relative to the working directory.

    It is the type both of a declared key and of the key's value. Code that has to know what a
    run depends on (its fingerprint, the check that files exist, the page of all keys) looks at
    the type, not at the names of keys.
    """

    noun: ClassVar[str]

    def check(self, place: str) -> None:
        """Check that the target exists, raise InputError otherwise.

        Parameters
        ----------
        place
            Path of the key.

        Raises
        ------
        InputError
            Which names the folder that a relative path starts from.
        """

    @property
    def content(self) -> Path | StoreUrl | None:
        """The file, folder or object that a run depends on; ``None`` if there is none."""
        return Path(self)

    def reads(self, name: str, start: bytes) -> bool:  # noqa: ARG002
        """Return whether a run reads a file of this folder to its end.

        Parameters
        ----------
        name
            Path of the file in the folder.
        start
            First bytes of the file.
        """
        return True

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return a schema that accepts any text."""
        return core_schema.no_info_after_validator_function(cls, core_schema.str_schema())

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Return the schema of a text, with the kind of its target as the format."""
        return {**handler(core_schema.str_schema()), "format": cls.noun}


class InputFile(Reference):
    """A file of this machine that a run reads."""

    noun = "file"

    def check(self, place: str) -> None:
        """Check that the path is a regular file, raise InputError otherwise."""
        if match := URL.match(self):
            raise InputError.of(place, f"cannot read {match[1]}://", "give a path of this machine")
        regular_file(self, place)

    @property
    def content(self) -> Path | StoreUrl | None:
        """The file; ``None`` if it is a folder, which would be read in full only to be refused."""
        return None if os.path.isdir(self) else Path(self)  # noqa: PTH112 (no error if too long)


class ProbeFile(InputFile):
    """A file of data, on this machine or in an object store."""

    noun = "file or URL"

    def check(self, place: str) -> None:
        """Check that there is such a file or object, raise InputError otherwise."""
        given_file(self, place)

    @property
    def content(self) -> Path | StoreUrl | None:
        """The file or the object."""
        return store_url(self, "") or super().content


class ProbePlace(Reference):
    """A file or a folder of data, on this machine or in an object store."""

    noun = "file, folder or URL"

    def check(self, place: str) -> None:
        """Check that there is such a file or folder, raise InputError otherwise."""
        given_place(self, place)

    @property
    def content(self) -> Path | StoreUrl | None:
        """The file or folder, or the place in a store."""
        return store_url(self, "") or Path(self)


class ProbeFolder(ProbePlace):
    """A folder of data, on this machine or in an object store."""

    noun = "folder or URL"

    def check(self, place: str) -> None:
        """Check that there is such a folder, raise InputError otherwise."""
        given_folder(self, place)


class EarlierRun(Reference):
    """A run that a run reads: its folder, its name, or the beginning of its id."""

    noun = "run"

    @property
    def content(self) -> Path | None:
        """The record in its folder, which holds the hashes of its files; ``None`` for a name."""
        record = Path(self) / "run.json"
        return record if os.path.isfile(record) else None  # noqa: PTH113 (no error if too long)


class OutputPath(Reference):
    """A path that a run writes to, below its own folder."""

    noun = "path"

    @property
    def content(self) -> Path | None:
        """``None``, as a run does not depend on its output."""
        return None


class ModuleName(Reference):
    """A Python module, or with ``:name`` an object in one, whose code is run."""

    noun = "module"

    @property
    def content(self) -> Path | None:
        """The module's own file, without the modules that it imports."""
        look_in_working_directory()
        try:
            spec = importlib.util.find_spec(self.partition(":")[0])
        except (ImportError, ValueError):
            return None
        return None if spec is None or spec.origin is None else Path(spec.origin)


class PossibleFile(Reference):
    """A text for user code, which may be the name of a file."""

    noun = "text"

    @property
    def content(self) -> Path | None:
        """The file of that name, ``None`` if there is none; folders are ignored."""
        try:
            return Path(self) if Path(self).is_file() else None
        except (OSError, ValueError):  # too long for a path, or with a NUL
            return None


def references_in(
    config: Any, place: str = "", *, untyped: bool = False
) -> Iterator[tuple[str, Reference]]:
    """Yield every reference in a part of a validated configuration, with its key path.

    Parameters
    ----------
    config
        A pydantic model, or a value in one.
    place
        Key path of the part.
    untyped
        Whether the part is plain data for user code, in which any text may name a file.
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
    """Check that the references of a configuration exist, raise InputError otherwise.

    Raises
    ------
    InputError
        With one problem for each missing file or folder.
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
