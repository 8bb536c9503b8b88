"""The configs that come with Runner: each fits a screen, and composes to what it says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

import runner
from runner.config import catalogue
from runner.config.compose import compose_one
from runner.config.declared_config import DeclaredModel
from runner.config.packaged import CONFIG_DIRECTORY
from runner.config.probe_config import SOURCES
from runner.errors import InputError

FILES = sorted(CONFIG_DIRECTORY.rglob("*.yaml"))
EXPERIMENTS = sorted(path.stem for path in (CONFIG_DIRECTORY / "experiment").glob("*.yaml"))


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONFIG_DIRECTORY / group).glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_config_fits_a_screen_and_says_what_it_is(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 40
    assert max(map(len, text.splitlines())) <= 100
    if path.parent.name not in ("loss", "optimizer", "help"):
        assert re.search(r"^# [A-Z0-9]", text, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("group", ["loss", "optimizer"])
def test_every_config_of_a_group_composes(group: str) -> None:
    for name in choices(group):
        experiment = compose_one([f"{group}={name}"], "0a1b2c3d")[0].experiment
        assert getattr(experiment, group).class_name in catalogue.load().names(
            "losses" if group == "loss" else "optimizers"
        )


def test_all_optimizers_are_there_but_those_that_wrap_another() -> None:
    known = catalogue.load()
    files = (CONFIG_DIRECTORY / "optimizer").glob("*.yaml")
    there = {yaml.safe_load(path.read_text())["class_name"] for path in files}
    plain = {
        name
        for name, signature in known.signatures["optimizers"].items()
        if "inner_optimizer" not in signature.names
    }
    # Those of a Keras newer than the oldest that Runner runs on stand without a file.
    assert there <= plain
    assert plain - there <= {"Muon", "ScheduleFreeAdamW"}


LACKING = {
    **dict.fromkeys(
        ("csv", "huggingface", "images", "npy", "npz", "parquet", "webdataset"), "probe.path"
    ),
    "inline": "probe.inputs",
    "function": "probe.function",
}


@pytest.mark.parametrize("name", SOURCES)
def test_a_probe_lacks_nothing_but_what_only_its_user_knows(name: str) -> None:
    if name not in LACKING:
        assert compose_one([f"probe={name}"], "0a1b2c3d")[0].experiment.probe.source == name
        return
    with pytest.raises(InputError, match=f"^{LACKING[name]}: required, and not given; set [^;]*$"):
        compose_one([f"probe={name}"], "0a1b2c3d")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_pairs_the_model_of_its_name(name: str) -> None:
    assert name in choices("model")
    model = compose_one([f"experiment={name}"], "0a1b2c3d")[0].experiment.model
    assert isinstance(model, DeclaredModel)


def test_every_declared_model_but_the_tutorial_has_its_experiment() -> None:
    declared = {
        name
        for name in choices("model")
        if "layers:" in (CONFIG_DIRECTORY / "model" / f"{name}.yaml").read_text()
    }
    assert declared - {"tutorial"} == set(EXPERIMENTS)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_runs_and_accounts_for_every_layer(name: str) -> None:
    run = runner.run(f"experiment={name}", "probe.rows=12")
    model = compose_one([f"experiment={name}"], "0a1b2c3d")[0].experiment.model
    assert isinstance(model, DeclaredModel)
    record = json.loads((run.path / "run.json").read_text(encoding="utf-8"))
    assert record["status"] == "COMPLETED"
    paths = {layer["path"] for layer in record["layers"]}
    built = {layer for layer, node in model.layers.items() if node.reuse is None}
    assert built <= paths
    for layer in record["layers"]:
        assert layer["tensors"] or layer["reason"], layer
