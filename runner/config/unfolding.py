"""Limits on how large the defaults and the interpolations of a configuration may become.

A few lines that refer to each other ten times can stand for gigabytes of text, and a few files that
include each other twice for millions of files. OmegaConf resolves interpolations one by one, also
those in keys and in the results of resolvers, and Hydra includes files one by one, so that each can
be counted, and the first one too many stops the composition.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import PureWindowsPath
from typing import Any, NoReturn

import omegaconf.base
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository
from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.config_source import ConfigResult
from omegaconf import Container, DictConfig, Node, OmegaConf
from omegaconf.errors import InterpolationResolutionError
from omegaconf.grammar_visitor import GrammarVisitor

from runner.errors import InputError

_LIMITS = {"interpolations": 10_000, "values": 100_000, "characters": 1_000_000}

_INCLUDED = {"files": 300, "values": 10_000}


class Unfolding:
    """What interpolations have unfolded to so far.

    Attributes
    ----------
    place
        Key path of the value being resolved.
    reads_environment
        Whether an interpolation may be a variable of the environment.
    """

    def __init__(self, place: str, *, reads_environment: bool) -> None:
        self.place = place
        self.reads_environment = reads_environment
        self._left = dict(_LIMITS)
        self.refusal: InputError | None = None

    def count(self, kind: str, number: int = 1) -> None:
        """Count interpolations, values or characters.

        Raises
        ------
        InputError
            If there are more than the limit.
        """
        self._left[kind] -= number
        if self._left[kind] < 0:
            what = f"unfolds to more than {_LIMITS[kind]:,} {kind} by its references"
            self._refuse(what, "write the value itself")

    def check_call(self, name: str, args: Sequence[Any]) -> None:
        """Check a call of a resolver before it is made.

        Raises
        ------
        InputError
            If it reads the environment, and may not.
        """
        if name == "oc.env" and not self.reads_environment:
            what = f"name a config by ${{oc.env:{args[0]}}}, and names of configs are recorded"
            self._refuse(what, "choose it on the command line")
        # These make texts that are far larger than what they are made from.
        repeats = name == "oc.deprecated"  # its key as often as its message says
        is_yaml = name == "oc.create" and any(isinstance(value, str) for value in args)
        if repeats or is_yaml:
            raise InterpolationResolutionError(f"{name} is not available here")

    def _refuse(self, message: str, advice: str) -> NoReturn:
        self.refusal = self.refusal or InputError.of(self.place, message, advice)
        raise self.refusal


_current: ContextVar[Unfolding | None] = ContextVar("unfolding", default=None)


class _Visitor(GrammarVisitor):
    """OmegaConf's evaluation of a text, which counts every interpolation and its text."""

    def __init__(
        self,
        node_interpolation_callback: Callable[..., Any],
        resolver_interpolation_callback: Callable[..., Any],
        memo: set[int] | None,
    ) -> None:
        super().__init__(
            node_interpolation_callback, _called(resolver_interpolation_callback), memo
        )

    def visitInterpolation(self, ctx: Any) -> Any:
        unfolding = _current.get()
        if unfolding is None:
            return super().visitInterpolation(ctx)
        unfolding.count("interpolations")
        found = super().visitInterpolation(ctx)
        is_part = ctx.parentCtx.getChildCount() > 1  # of a text, which a copy becomes part of
        if is_part or not isinstance(found, Container):
            value = found._value() if isinstance(found, Node) else found
            unfolding.count("characters", len(str(value)))
        return found


def _called(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return OmegaConf's call of a resolver, checked before it is made."""

    def called(name: str, args: tuple[Any, ...], args_str: tuple[str, ...]) -> Any:
        if (unfolding := _current.get()) is not None:
            unfolding.check_call(name, args)
        return call(name=name, args=args, args_str=args_str)

    return called


@contextlib.contextmanager
def bounded(place: str, *, reads_environment: bool = True) -> Iterator[Unfolding]:
    """Bound what is resolved inside the context.

    OmegaConf may wrap or suppress the error, so it is kept and raised at the end.

    Parameters
    ----------
    place
        Key path to report, until `Unfolding.place` is set to another one.
    reads_environment
        As in `Unfolding`.

    Raises
    ------
    InputError
        If the interpolations unfold to more than the limits, or read the environment and may not.
    """
    unfolding = Unfolding(place, reads_environment=reads_environment)
    token = _current.set(unfolding)
    try:
        yield unfolding
    except Exception:
        if unfolding.refusal is not None:
            raise unfolding.refusal from None
        raise
    finally:
        _current.reset(token)
    if unfolding.refusal is not None:
        raise unfolding.refusal


class BoundedLoader(ConfigLoaderImpl):
    """Hydra's loader, which includes files up to a limit, and none that the environment names."""

    def __init__(self, config_search_path: ConfigSearchPath) -> None:
        super().__init__(config_search_path)
        self._sizes: dict[str, int] = {}

    def load_configuration(self, *args: Any, **kwargs: Any) -> DictConfig:
        """Compose a configuration; only interpolations in defaults are resolved here."""
        with bounded("defaults", reads_environment=False):
            return super().load_configuration(*args, **kwargs)

    def _parse_overrides_and_create_caching_repo(self, *args: Any, **kwargs: Any) -> Any:
        overrides, repository = super()._parse_overrides_and_create_caching_repo(*args, **kwargs)
        return overrides, _CountingRepository(repository, self._sizes)


class _CountingRepository(CachingConfigRepository):
    """The files of one composition, each as often as it is included.

    Hydra asks for every file three times: for its package, its defaults and its values.
    """

    def __init__(self, delegate: CachingConfigRepository, sizes: dict[str, int]) -> None:
        self.delegate = delegate
        self.cache = delegate.cache
        self._sizes = sizes
        self._left = {kind: 3 * limit for kind, limit in _INCLUDED.items()}

    def load_config(self, config_path: str) -> ConfigResult | None:
        path = PureWindowsPath(config_path)  # Hydra joins it with the folder
        if path.anchor or ".." in path.parts:
            raise InputError.of(
                "defaults", f"'{config_path}' is outside the folder of configs", "copy it there"
            )
        loaded = super().load_config(config_path)
        if config_path not in self._sizes:
            self._sizes[config_path] = 0 if loaded is None else _size(loaded.config)
        for kind, number in (("files", 1), ("values", self._sizes[config_path])):
            self._left[kind] -= number
            if self._left[kind] < 0:
                raise InputError.of(
                    "defaults",
                    f"include more than {_INCLUDED[kind]:,} {kind}, counted as often as included",
                    f"{config_path}.yaml is one of the files",
                )
        return loaded


def _size(config: Any) -> int:
    """Return the number of values in a composed or plain configuration."""
    plain = OmegaConf.to_container(config, resolve=False) if OmegaConf.is_config(config) else config
    if not isinstance(plain, dict | list):
        return 1
    return 1 + sum(map(_size, plain.values() if isinstance(plain, dict) else plain))


omegaconf.base.GrammarVisitor = _Visitor  # type: ignore[attr-defined, assignment]
