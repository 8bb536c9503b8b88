"""The folder of a run, whose name may contain interpolations."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from runner.config.environment_reading import resolved_value, values_from_environment
from runner.config.resolve import short
from runner.errors import InputError
from runner.store_urls import runs_place

_REFERENCE = re.compile(r"\$\{(?:[^{}]|\$\{[^{}]*\})*\}")
_SUBDIR = "hydra.sweep.subdir"


def check_not_secret(cfg: DictConfig, place: str) -> None:
    """Check that the name of a folder does not come from the environment.

    Raises
    ------
    InputError
        If it does.
    """
    if place in values_from_environment(cfg).places:
        raise InputError.of(
            place,
            "comes from the environment, and would be the name of a folder",
            f"choose it on the command line: {place}=...",
        )


class JobFolder:
    """The folders of a batch's jobs.

    Resolving interpolations with OmegaConf takes longer than checking that a run is complete. A
    name that refers only to the job's number and overrides, as by default, is therefore built
    here.

    Parameters
    ----------
    cfg
        Configuration of the first job; changed to that of each job whose folder is asked for.

    Attributes
    ----------
    above
        Folder or URL of the sweep.
    """

    def __init__(self, cfg: DictConfig) -> None:
        self._cfg = cfg
        self._text = str(OmegaConf.to_container(cfg.hydra.sweep)["subdir"])  # type: ignore[index, call-overload]
        typed: Any = OmegaConf.to_container(cfg.hydra.overrides.hydra, resolve=False)
        self._is_typed = any(
            f"{_SUBDIR}.".startswith(f"{str(word).lstrip('+').partition('=')[0]}.")
            for word in typed
        )
        above = runs_place(str(cfg.hydra.sweep.dir), "hydra.sweep.dir")
        self.above = above.absolute() if isinstance(above, Path) else above

    def name(self, number: int, dirname: str, values: Mapping[str, Any]) -> str:
        """Return the name of a job's folder.

        Parameters
        ----------
        number
            Number of the job.
        dirname
            Its overrides, as Hydra joins them.
        values
            Its values of cheap keys.

        Raises
        ------
        InputError
            If the name cannot be resolved, or a file takes it from the environment.
        """
        known = {
            "${hydra.job.num}": str(number),
            "${hydra.job.override_dirname}": dirname,
            "${runner.short:${hydra.job.override_dirname}}": short(dirname),
        }
        others = "$" in _REFERENCE.sub(lambda found: "" if found[0] in known else "$", self._text)
        if not others and "$" not in dirname and "\\" not in self._text:
            return _REFERENCE.sub(lambda found: known[found[0]], self._text)
        for key, value in values.items():
            OmegaConf.update(self._cfg, key, value)
        self._cfg.hydra.job.num = number
        # Escaped, so that the folder's name shows no resolved value.
        self._cfg.hydra.job.override_dirname = dirname.replace("${", r"\${")
        if others and not self._is_typed:
            check_not_secret(self._cfg, _SUBDIR)
        return str(resolved_value(self._cfg, _SUBDIR))
