"""Configs of the groups in `CHOICES`, made from the names of objects."""

from __future__ import annotations

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

from runner.config.model_config import RUNTIMES
from runner.config.packaged import CHOICES
from runner.config.probe_config import SOURCES


class ChoiceConfigs(ConfigSource):
    """A config for each object; a source of probes is loaded, since it sets all of its keys."""

    @staticmethod
    def scheme() -> str:
        """Return the scheme of the search path."""
        return "runner"

    def load_config(self, config_path: str) -> ConfigResult:
        """Return the config that chooses an object."""
        group, _, name = config_path.removesuffix(".yaml").rpartition("/")
        package = None
        if CHOICES[group] is SOURCES:
            keys = OmegaConf.create(SOURCES[name].choice())
        elif CHOICES[group] is RUNTIMES:
            keys = OmegaConf.create({"path": "???"})
        else:
            keys, package = OmegaConf.create({group: name}), "_global_"
        header = {"package": package}
        return ConfigResult(self.provider, self.full_path(), keys, header=header)

    def available(self) -> bool:
        """Return whether there are configs."""
        return True

    def is_group(self, config_path: str) -> bool:
        """Return whether there are configs or groups below a path."""
        path = config_path.strip("/")
        return not path or any(f"{group}/".startswith(f"{path}/") for group in CHOICES)

    def is_config(self, config_path: str) -> bool:
        """Return whether a path is a group's and the name an object's."""
        group, _, name = config_path.removesuffix(".yaml").rpartition("/")
        return group in CHOICES and name in CHOICES[group]

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Return the groups and the names of configs below a path."""
        path = config_path.strip("/")
        above = f"{path}/" if path else ""
        below = [group.removeprefix(above) for group in CHOICES if group.startswith(above)]
        groups = sorted({group.partition("/")[0] for group in below})
        configs = CHOICES[path].names if path in CHOICES else []
        return [
            *(groups if results_filter is not ObjectType.CONFIG else []),
            *(configs if results_filter is not ObjectType.GROUP else []),
        ]


class ChoiceSearchPath(SearchPathPlugin):
    """Adds the choices to Hydra's search path."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Add them behind Runner's files."""
        search_path.append("runner-choices", f"{ChoiceConfigs.scheme()}://choices")
