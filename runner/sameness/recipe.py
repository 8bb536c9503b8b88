"""What a repetition of a run is made from, in this process or in another one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from runner.config.composition import Composition, composition_of
from runner.config.resolve import named_code, resolved
from runner.errors import InputError
from runner.record.record import RunRecord


@dataclass(frozen=True)
class Recipe:
    """What a repetition of a run is made from.

    Attributes
    ----------
    record
        The record of the run.
    config
        The configuration as plain data, with the overrides.
    overrides
        The overrides, as typed.
    trusts_code
        Whether to run the Python code that the configuration names.
    """

    record: RunRecord
    config: dict[str, Any]
    overrides: tuple[str, ...] = ()
    trusts_code: bool = False

    def composition(self) -> Composition:
        """Return the experiment.

        Raises
        ------
        InputError
            If it is invalid, or names code that is not trusted: variables of the environment may
            name other code in another process.
        """
        config = OmegaConf.create(self.config)
        check_code(self.record, config, trust_code=self.trusts_code)
        return composed(config, self.record, self.overrides)

    def with_model(self, file: Path) -> Recipe:
        """Return the recipe with the model in a file."""
        config = {**self.config, "model": {"path": str(file)}}
        return Recipe(self.record, config, self.overrides, self.trusts_code)


def composed(config: DictConfig, record: RunRecord, overrides: Sequence[str]) -> Composition:
    """Return the experiment of a recorded configuration with overrides.

    Raises
    ------
    InputError
        If it is invalid.
    """
    words = [given for given in record.overrides if not given.startswith("name=")]
    task = {"overrides": {"task": [*words, *overrides]}, "runtime": {"choices": {}}}
    return composition_of(config, OmegaConf.create({"hydra": task}))


def check_code(record: RunRecord, config: DictConfig, *, trust_code: bool) -> None:
    """Check that code which a configuration names is trusted, raise InputError otherwise."""
    if (code := code_in(config)) and not trust_code:
        raise InputError.of(
            f"run {record.run_id}",
            f"its record names Python code, which a repetition runs: {', '.join(code)}",
            "read that code, then type --trust-code (from Python: trust_code=True)",
        )


def code_in(config: DictConfig) -> list[str]:
    """Return the Python code that a configuration names: ``model.function: nets:build``."""
    plain, _ = resolved(config)
    return [f"{place}: {value}" for place, value in named_code(plain)]
