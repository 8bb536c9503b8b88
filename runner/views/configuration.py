"""The view of what was run: the configuration, and the versions and sources of a run."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

import yaml

from runner.record.batch_dependence import batch_facts
from runner.record.record import RunRecord
from runner.report.shown_run import ShownRun
from runner.report.shown_sweep import ShownSweep
from runner.report.view import Part, View, text_beside

_ABSENT = object()


def _of_run(run: ShownRun) -> Part:
    record = run.record
    config = _as_yaml(record.config) if record.config else ""
    return Part({"config": config, "provenance": _provenance(record)})


def _of_sweep(sweep: ShownSweep) -> Part:
    configs = [run.config for run in sweep.runs if run.config]
    return Part({"config": _as_yaml(_common(configs)), "provenance": {}})


def _as_yaml(config: dict[str, Any]) -> str:
    text: str = yaml.safe_dump(config, allow_unicode=True, sort_keys=False, width=100)
    return text


def _provenance(record: RunRecord) -> dict[str, str]:
    """Return the machine, the versions and the sources of a run, one text per fact."""
    environment, backend = vars(record.environment).copy(), record.backend
    git, packages = environment.pop("git"), environment.pop("packages")
    facts = {
        "started": f"{record.started:%Y-%m-%d %H:%M:%S} UTC",
        "took": f"{record.seconds:,.2f} s",
        **{name: str(fact) for name, fact in environment.items() if fact is not None},
        **packages,
    }
    if "probe" in record.config:  # not saved from Python
        facts["command line"] = shlex.join(record.overrides) or "without overrides"
    if git is not None:
        dirty = ", with changes that are not committed" if git.dirty else ""
        facts["commit"] = f"{git.commit}{dirty}" + (f" of {git.remote}" if git.remote else "")
    if backend is not None:
        facts["backend"] = (
            f"{backend.name}, oneDNN {_switch(backend.onednn)}, "
            f"deterministic operations {_switch(backend.deterministic)}"
        )
    if record.model is not None:
        facts["hash of the weights"] = record.model.sha256
    if record.probe is not None:
        facts["hash of the probe"] = record.probe.sha256
    return facts | batch_facts(record)


def _switch(on: bool | None) -> str:
    return {True: "on", False: "off", None: "not recorded"}[on]


def _common(configs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the keys that have the same value in all configurations."""
    common: dict[str, Any] = {}
    for key, value in (configs[0] if configs else {}).items():
        others = [config.get(key, _ABSENT) for config in configs]
        if value and all(isinstance(other, dict) for other in others):
            if inner := _common(others):
                common[key] = inner
        elif all(other == value for other in others):
            common[key] = value
    return common


CONFIGURATION = View(
    text_beside(__file__, ".html.jinja"),
    of_run=_of_run,
    of_sweep=_of_sweep,
    questions={
        "Configuration": (
            "What exactly was run, on what, with which versions? Of several runs: what do they "
            "have in common?"
        ),
    },
    order=90,
)
