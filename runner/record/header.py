"""What is known of a run before its model is shown the probe."""

from __future__ import annotations

import dataclasses
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from runner.capture.reductions import REDUCTIONS
from runner.config.environment_values import EnvironmentValues
from runner.record.environment import read_environment
from runner.record.record import RunRecord
from runner.record.uptime import Uptime
from runner.table_formats import FORMATS
from runner.tables.statistics import STATISTICS


@dataclass(frozen=True)
class Header:
    """The facts about a run that are known before its model is shown the probe.

    Attributes
    ----------
    run_id, name, sweep, config, overrides, seed, seeding, own_build_because, weights_of,
    fingerprint, started
        As in `RunRecord`.
    files, variables
        Additional files of the run's folder by path, and the environment variables used.
    packages
        Packages, with their versions, whose sources of probes the run uses.
    began
        Time of a monotonic clock in seconds, at the same moment as `started`.
    """

    run_id: str
    name: str | None = None
    sweep: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()
    seed: int | None = None
    seeding: str | None = None
    own_build_because: str | None = None
    weights_of: str | None = None
    fingerprint: str | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    variables: EnvironmentValues = field(default_factory=EnvironmentValues)
    packages: Mapping[str, str] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)

    @classmethod
    def of_model(cls, name: str | None, config: Mapping[str, Any] | None) -> Header:
        """Return the header of a run of a model that the user built; it starts now.

        Parameters
        ----------
        name
            Name of the run.
        config
            Configuration to record; a ``seed`` in it is recorded as the run's seed.
        """
        given = dict(config or {})
        return cls(secrets.token_hex(4), name, config=given, seed=given.get("seed"))

    @property
    def now(self) -> datetime:
        """The time since `started`, even if the system clock was set in between."""
        return self.started + timedelta(seconds=time.monotonic() - self.began)

    def record(self, table_format: str, **known: Any) -> RunRecord:
        """Return the record of a run that ends now.

        The duration is correct even if the system clock is set in between.
        """
        now = time.monotonic()
        seconds = now - self.began
        environment = read_environment(Path.cwd())
        tensors = (tensor for layer in known.get("layers", ()) for tensor in layer.tensors)
        reductions = {name.partition(":")[0] for tensor in tensors if (name := tensor.reduction)}
        fields = RunRecord.__dataclass_fields__.keys() - {"files"}
        return RunRecord(
            **{key: value for key, value in vars(self).items() if key in fields},
            ended=self.started + timedelta(seconds=seconds),
            seconds=seconds,
            uptime=Uptime.at(now),
            format=FORMATS[table_format].stored_as or table_format,
            environment=dataclasses.replace(
                environment,
                packages={
                    **environment.packages,
                    **FORMATS.packages([table_format]),
                    **REDUCTIONS.packages(reductions),
                    **STATISTICS.packages(STATISTICS.names),
                    **self.packages,
                },
            ),
            **known,
        )
