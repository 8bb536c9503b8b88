"""Configs of the groups ``probe`` and ``train/data``, made from the sources of probes."""

from __future__ import annotations

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

from runner.config.probe_config import SOURCES

_GROUPS = ("probe", "train/data")


class SourceConfigs(ConfigSource):
    """A config for each source, which is loaded only if it is chosen."""

    @staticmethod
    def scheme() -> str:
        """Return the scheme of the search path."""
        return "runner"

    def load_config(self, config_path: str) -> ConfigResult:
        """Return the config that chooses a source."""
        keys = SOURCES[config_path.rpartition("/")[2].removesuffix(".yaml")].choice()
        return ConfigResult(
            self.provider, self.full_path(), OmegaConf.create(keys), header={"package": None}
        )

    def available(self) -> bool:
        """Return whether there are configs."""
        return True

    def is_group(self, config_path: str) -> bool:
        """Return whether there are configs or groups below a path."""
        return config_path.rstrip("/") in ("", "train", *_GROUPS)

    def is_config(self, config_path: str) -> bool:
        """Return whether a path is a group's and the name a source's."""
        group, _, name = config_path.removesuffix(".yaml").rpartition("/")
        return group in _GROUPS and name in SOURCES

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Return the groups and the names of configs below a path."""
        path = config_path.strip("/")
        groups = {"": ["probe", "train"], "train": ["data"]}.get(path, [])
        configs = SOURCES.names if path in _GROUPS else []
        return [
            *(groups if results_filter is not ObjectType.CONFIG else []),
            *(configs if results_filter is not ObjectType.GROUP else []),
        ]


class SourceSearchPath(SearchPathPlugin):
    """Adds the sources to Hydra's search path."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Add them behind Runner's files."""
        search_path.append("runner-sources", f"{SourceConfigs.scheme()}://sources")
