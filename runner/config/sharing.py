"""Which keys of an experiment may differ between jobs that share a model."""

from __future__ import annotations

from runner.config.cheap_keys import changed, cheap_fields, without
from runner.config.experiment_config import ExperimentConfig
from runner.config.intervene_config import ACTIONS

CHEAP_KEYS = cheap_fields(ExperimentConfig)
"""The keys that are marked as cheap in every experiment, with the types of their values."""


def is_cheap(key: str) -> bool:
    """Return whether jobs that differ in a key alone may share a model.

    Beside `CHEAP_KEYS`, these are the cheap keys of an intervention (``intervene.hidden.units``).
    """
    above, _, rest = key.partition(".")
    if above != "intervene":
        return key in CHEAP_KEYS
    _, _, own = rest.partition(".")
    return any(own in cheap_fields(action) for action in ACTIONS.values())


def shared_part(config: ExperimentConfig) -> ExperimentConfig:
    """Return a copy of an experiment in which cheap keys have no value, to compare the rest."""
    intervene = {
        pattern: without(what, cheap_fields(type(what)))
        for pattern, what in config.intervene.items()
    }
    rest: ExperimentConfig = changed(without(config, CHEAP_KEYS), "intervene", intervene)
    return rest
