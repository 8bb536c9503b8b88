"""Objects that are found by their name: Runner's own, and those of installed packages."""

from __future__ import annotations

import functools
import importlib
import pkgutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, Protocol, TypeVar

from runner.errors import InputError, first_line


class _Listed(Protocol):
    @property
    def order(self) -> int: ...


T = TypeVar("T", bound=_Listed)


class Registry(Mapping[str, T], Generic[T]):
    """Objects by name, each loaded when it is first asked for.

    Runner's own are the modules of a package: each holds one object and has its name. Other
    packages offer theirs as entry points, in a group that is called like the package.

    Parameters
    ----------
    package
        Full name of the package, ``runner.sources``.
    key
        The configuration key whose value is a name, for messages.
    accepts
        Whether an object is one of those that the registry holds. Such an object has an
        ``order``, its place in lists.

    Attributes
    ----------
    own
        Names of Runner's own objects.
    """

    def __init__(self, package: str, key: str, accepts: Callable[[Any], bool]) -> None:
        self._package = package
        self._key = key
        self._accepts = accepts
        [path] = importlib.import_module(package).__path__
        self.own = sorted(module.name for module in pkgutil.iter_modules([path]))
        self._found: dict[str, T] = {}

    @property
    def names(self) -> list[str]:
        """All names: Runner's own, then those of other packages. Their objects are not loaded."""
        return [*self.own, *sorted(self._offered().keys() - set(self.own))]

    def __getitem__(self, name: str) -> T:
        """Return the object of a name.

        Raises
        ------
        KeyError
            If there is none.
        InputError
            If another package offers it and it cannot be loaded.
        """
        if name not in self._found:
            if name not in self.own:
                return self._loaded(self._offered()[name])
            module = importlib.import_module(f"{self._package}.{name}")
            self._found[name] = next(filter(self._accepts, vars(module).values()))
        return self._found[name]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self.own or name in self._offered())

    def __iter__(self) -> Iterator[str]:
        own = {name: self[name] for name in self.own}
        yield from sorted(own, key=lambda name: own[name].order)
        yield from self.names[len(own) :]

    def __len__(self) -> int:
        return len(self.names)

    def packages(self, names: Iterable[str]) -> dict[str, str]:
        """Return the packages that offer some objects, and their versions; Runner is left out."""
        offered = [self._offered()[name].dist for name in names if name not in self.own]
        return {dist.name: dist.version for dist in offered if dist is not None}

    def _offered(self) -> dict[str, EntryPoint]:
        return _offered_as(self._package, tuple(sys.path))

    def _loaded(self, point: EntryPoint) -> T:
        package = point.dist.name if point.dist else point.module
        try:
            found: T = point.load()
        except Exception as error:  # whatever the code of another package raises
            why = f"cannot be loaded: {type(error).__name__}: {first_line(error)}"
            raise self._refusal(point.name, package, why) from error
        if not self._accepts(found):
            raise self._refusal(point.name, package, f"{point.value} is none of {self._package}")
        return found

    def _refusal(self, name: str, package: str, why: str) -> InputError:
        return InputError.of(
            self._key, f"'{name}' of the package {package}: {why}", "update or remove that package"
        )


@functools.lru_cache(16)
def _offered_as(group: str, _path: tuple[str, ...]) -> dict[str, EntryPoint]:
    """Return the entry points of a group by name, which takes milliseconds to find."""
    return {point.name: point for point in entry_points(group=group)}
