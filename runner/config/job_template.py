"""The configuration of a batch, from which that of each job is made."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from hydra._internal.config_loader_impl import get_overrides_dirname
from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from runner.config.batches import with_words
from runner.config.cheap_keys import changed, without
from runner.config.choices import own_part
from runner.config.composition import Composition, composition_of, to_yaml
from runner.config.environment_reading import values_from_environment
from runner.config.grammar import INTEGER, parsed_overrides
from runner.config.hydra_keys import subdir_problems
from runner.config.job_folder import JobFolder
from runner.config.resolve import resolved
from runner.config.sharing import CHEAP_KEYS
from runner.errors import InputError, Problem
from runner.file_names import CONFIG, HYDRA, OVERRIDES
from runner.store_urls import RunPlace

_CHANGING_NODES = ("job", "overrides", "runtime")


class JobTemplate:
    """The configuration of a batch, with number and cheap values changed for each job.

    A job is composed from the first one, without OmegaConf, once it is known that its values of
    `CHEAP_KEYS` change nothing else: that no other value refers to them, and that a job with
    other values of these keys, composed in full, was equal in everything else. A job with other
    values of an intervention is composed in full, since they are validated together.

    Parameters
    ----------
    plain
        Configuration of the first job as plain data, interpolations not resolved.

    Attributes
    ----------
    folder, overrides
        As in `runner.config.jobs.Job`, for the job placed last.
    """

    def __init__(self, plain: dict[str, Any]) -> None:
        self._plain = plain
        self._folders = JobFolder(OmegaConf.create(plain))  # resolves interpolations
        self._words: dict[str, Override] = {}
        self._first: Composition | None = None
        self._first_values: Mapping[str, Any] = {}
        self._changeable: set[str] = set()
        self._pieces: dict[tuple[str, ...], bytes] = {}

    def place(self, number: int, words: Sequence[str]) -> None:
        """Set the job's number and cheap values, as if the job had been composed alone.

        Parameters
        ----------
        number
            Number of the job.
        words
            Its overrides of cheap keys.
        """
        self._values = {_key_of(word): _value_of(word) for word in words}
        for key, value in self._values.items():
            self._plain = changed(self._plain, key, value)
        node = self._plain["hydra"]
        self.overrides = with_words(node["overrides"]["task"], words)
        naming = node["job"]["config"]["override_dirname"]
        dirname = get_overrides_dirname([self._parsed(word) for word in self.overrides], **naming)
        node["job"].update(num=number, id=str(number), override_dirname=dirname)
        try:
            subdir = self._folders.name(number, dirname, self._values)
            self._misplaced = list(subdir_problems(subdir)) or self._linked(subdir)
        except InputError as error:
            subdir, self._misplaced = "", list(error.problems)
        # Its failure is still published, in a folder named after the job's number.
        self.folder: RunPlace = self._folders.above / (str(number) if self._misplaced else subdir)
        node["overrides"]["task"] = list(self.overrides)
        node["runtime"]["output_dir"] = str(self.folder)

    def composed(self) -> Composition:
        """Return the experiment of the job placed last.

        Raises
        ------
        InputError
            As in `composition_of`, or if the job's folder is outside the sweep's.
        """
        if self._misplaced:
            raise InputError(self._misplaced)
        if self._first is not None and (derived := self._derived(self._first)) is not None:
            return derived
        cfg = OmegaConf.create(self._plain)
        own = own_part(cfg)
        composition = composition_of(own, OmegaConf.masked_copy(cfg, ["hydra"]))
        if self._first is None:
            self._first, self._first_values = composition, self._values
        elif self._differ_alone(self._first, composition):
            self._changeable |= self._changed() & CHEAP_KEYS.keys()
        return composition

    def config(self) -> Mapping[str, Any]:
        """Return the configuration of the job placed last; empty if it cannot be resolved."""
        try:
            return values_from_environment(own_part(OmegaConf.create(self._plain))).config
        except (InputError, OmegaConfBaseException):
            return {}

    def _linked(self, subdir: str) -> list[Problem]:
        """Return a problem if a job's folder would be reached through a link in the sweep's."""
        above = self._folders.above
        if not isinstance(above, Path):
            return []
        between = list(PurePath(subdir).parents)[:-1]
        return [
            Problem("hydra.sweep.subdir", f"'{path}' is a link in the sweep's folder", "remove it")
            for path in between
            if (above / path).is_symlink()
        ]

    def _changed(self) -> set[str]:
        """Return the keys whose values differ from those of the first job."""
        return {key for key, value in self._values.items() if value != self._first_values[key]}

    def _differ_alone(self, first: Composition, other: Composition) -> bool:
        """Return whether the keys that were changed decide nothing but their own values."""
        keys = self._changed()
        if any(
            without(one, keys) != without(another, keys)
            for one, another in ((first.resolved, other.resolved), (first.config, other.config))
        ):
            return False
        # Two jobs can be equal by chance: nothing may refer to the keys, not even to choose
        # another key, as in `${extra.${name}}`. A reference to a missing value is an error.
        own = own_part(OmegaConf.create(self._plain))
        for key in keys:
            OmegaConf.update(own, key, "???")
        _, problems = resolved(own)
        return {problem.place for problem in problems} == keys

    def _derived(self, first: Composition) -> Composition | None:
        """Return the experiment made from that of the first job; ``None`` if it cannot be."""
        if not (keys := self._changed()) <= self._changeable:
            return None
        experiment, plain, config = first.experiment, first.resolved, first.config
        for key in keys:
            value = self._values[key]
            try:
                typed = CHEAP_KEYS[key].validate_python(value, strict=True)
            except ValidationError:
                return None  # composed in full, which tells the error
            experiment = changed(experiment, key, typed)
            plain, config = changed(plain, key, value), changed(config, key, value)
        # Copy what the next job changes: the files may be read after that job is placed.
        node, overrides = self._plain["hydra"], self.overrides
        changing = {key: {**node[key]} for key in _CHANGING_NODES}
        own = {key: value for key, value in self._plain.items() if key != "hydra"}

        def files() -> dict[str, bytes]:
            return {
                CONFIG: self._yaml(own),
                HYDRA: b"hydra:\n" + self._yaml({**node, **changing}, ("hydra",)),
                OVERRIDES: to_yaml(list(overrides)),
            }

        return dataclasses.replace(
            first,
            experiment=experiment,
            resolved=plain,
            config=config,
            overrides=overrides,
            files=_Files(files),
        )

    def _yaml(self, mapping: dict[str, Any], above: tuple[str, ...] = ()) -> bytes:
        """Return the YAML of a mapping; keys with the same value in all jobs are dumped once."""
        changing: set[tuple[str, ...]] = {("hydra", node) for node in _CHANGING_NODES}
        changing |= {(key.partition(".")[0],) for key in self._values}
        lines = []
        for key, value in mapping.items():
            path = (*above, key)
            if path not in self._pieces or path in changing:
                nested: Any = {key: value}
                for name in reversed(above):
                    nested = {name: nested}
                text = to_yaml(nested)
                self._pieces[path] = b"".join(text.splitlines(keepends=True)[len(above) :])
            lines.append(self._pieces[path])
        return b"".join(lines)

    def _parsed(self, word: str) -> Override:
        """Return an override of a job; those of the same key are parsed once."""
        key = word.partition("=")[0]
        if key not in self._words:
            [self._words[key]] = parsed_overrides([word])
        return dataclasses.replace(self._words[key], input_line=word)


class _Files(Mapping[str, bytes]):
    """Hydra's files of a job, made on first access, so not for a job that is already complete."""

    def __init__(self, make: Callable[[], dict[str, bytes]]) -> None:
        self._make = make

    @functools.cached_property
    def _made(self) -> dict[str, bytes]:
        return self._make()

    def __getitem__(self, name: str) -> bytes:
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)


def _key_of(word: str) -> str:
    return word.partition("=")[0].lstrip("+")


def _value_of(word: str) -> Any:
    """Return the value of an override; integers are read without Hydra's slow grammar."""
    text = word.partition("=")[2]
    if INTEGER.fullmatch(text):
        return int(text)
    [override] = parsed_overrides([word])
    return override.value()
