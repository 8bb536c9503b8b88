"""The schema for editors: what it lets through and what it marks."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from runner.config.schema import json_schema

CONF = Path(__file__).parent.parent / "conf"
GROUPS = ("probe", "loss", "optimizer", "capture")


@functools.cache
def validator() -> Draft202012Validator:
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def a_layer(**keys: Any) -> dict[str, Any]:
    return {"layers": {"a": keys}}


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(CONF.rglob("*.yaml")) if "hydra" not in path.parts],
    ids=lambda path: path.stem,
)
def test_the_packaged_configs_are_valid(path: Path) -> None:
    group = path.parent.name
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    if group == "data" and "data" in content:  # the others hold nothing but their defaults
        content = {"train": content}
    elif group in GROUPS or path.stem == "fit":
        content = {group: content}
    validator().validate(content)


@pytest.mark.parametrize(
    "config",
    [
        a_layer(class_name="Dense", units="${model.units}", activation="${model.activation}"),
        a_layer(units=8),
        a_layer(class_name="Conv2D", filters=8, kernel_size=[3, 3], padding="same"),
        a_layer(reuse="b", inputs={"query": "b", "use_causal_mask": True}),
        a_layer(class_name="my_package>Scale", factor=2),
        a_layer(class_name="Dense", units=4, kernel_initializer={"class_name": "HeNormal"}),
        a_layer(class_name="RNN", cell=[{"class_name": "LSTMCell", "units": 4}]),
        a_layer(class_name="Dense", units=4, activation={"class_name": "LeakyReLU"}),
        {"model": {"hidden_units": 3}, "seed": "${oc.env:SEED}"},
        {"model": {"path": "???"}, "probe": {"rows": 3}},
        {"class_name": "MobileNetV2", "weights": None, "input_shape": [96, 96, 3]},
        {"optimizer": {"class_name": "adam", "learning_rate": {"class_name": "CosineDecay"}}},
        {"loss": None, "probe": "${somewhere}"},
        {"train": {"metrics": ["accuracy", {"class_name": "AUC"}], "every": 5, "data": None}},
        {"train": {"callbacks": {"early": {"class_name": "EarlyStopping", "patience": 3}}}},
    ],
)
def test_what_is_right_is_let_through(config: dict[str, Any]) -> None:
    validator().validate(config)


@pytest.mark.parametrize(
    "config",
    [
        a_layer(class_name="Dens", units=4),
        a_layer(class_name="Dense", activtion="relu"),
        a_layer(class_name="Dense", activation="rleu"),
        a_layer(class_name="Dense", units=True),
        a_layer(class_name="Dense", units="four"),
        a_layer(class_name="Dense", use_bias="no"),
        a_layer(class_name="Dense", units=4, kernel_initializer={"class_name": "HeNorml"}),
        a_layer(class_name="TimeDistributed", layer={"class_name": "Dense", "unit": 4}),
        a_layer(reuse="b", units=4),
        {"modle": {}},
        {"seed": True},
        {"format": "parqet"},
        {"probe": {"source": "csv", "pth": "x.csv"}},
        {"loss": {"class_name": "mes"}},
        {"optimizer": {"class_name": "Adam", "lr": 0.1}},
        {"capture": {"batchsize": 3}},
        {"class_name": "VGG"},
        {"train": {"epoch": 3}},
        {"train": {"metrics": ["acuracy"]}},
        {"train": {"callbacks": {"early": {"class_name": "EarlyStopping", "patence": 3}}}},
        {"train": {"data": {"source": "csv", "pth": "x.csv"}}},
    ],
)
def test_a_typo_is_marked(config: dict[str, Any]) -> None:
    assert not validator().is_valid(config)
