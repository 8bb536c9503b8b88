"""The folder of a job, whose name may contain interpolations."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from runner.config.resolve import short

_REFERENCE = re.compile(r"\$\{(?:[^{}]|\$\{[^{}]*\})*\}")


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
        Folder of the sweep.
    """

    def __init__(self, cfg: DictConfig) -> None:
        self._cfg = cfg
        self._text = str(OmegaConf.to_container(cfg.hydra.sweep)["subdir"])  # type: ignore[index, call-overload]
        self.above = Path(str(cfg.hydra.sweep.dir)).absolute()

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
        """
        if "$" not in dirname:
            known = {
                "${hydra.job.num}": str(number),
                "${hydra.job.override_dirname}": dirname,
                "${runner.short:${hydra.job.override_dirname}}": short(dirname),
            }
            text = _REFERENCE.sub(lambda found: known.get(found[0], found[0]), self._text)
            if "$" not in text and "\\" not in self._text:
                return text
        for key, value in values.items():
            OmegaConf.update(self._cfg, key, value)
        self._cfg.hydra.job.num = number
        # Escaped, so that the folder's name shows no resolved value.
        self._cfg.hydra.job.override_dirname = dirname.replace("${", r"\${")
        return str(self._cfg.hydra.sweep.subdir)
