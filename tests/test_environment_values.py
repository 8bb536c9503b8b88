"""What environment variables hold reaches nothing that a run leaves, however it is spelled."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

import runner
from runner.command_line.entry import main
from runner.config.compose import compose_one
from runner.config.composition import experiment_of
from runner.config.environment_reading import values_from_environment
from runner.config.environment_values import EnvironmentValues
from runner.config.resolve import register_resolvers
from runner.errors import InputError, Problem

SECRETS = {
    "TOKEN": "first-line-of-a-key\nzweite\tzeile of+a/key==",
    "PIN": "8675309",
    "MATRIX": "[[0.8675, 0.3125], [0.5, 0.25]]",
    "PLAIN": "relu",
}
MODEL = r"""
input_shape: [3]
factor: "${oc.decode:${oc.env:PIN}}"
layers:
  scaled: {class_name: Rescaling, scale: "${model.factor}", offset: "${oc.decode:${oc.env:PIN}}"}
  hidden: {class_name: Dense, units: 2, activation: "${oc.env:PLAIN}",
           kernel_initializer: {class_name: Constant, value: "${oc.decode:${oc.env:PIN}}"}}
"""


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


def held(folder: Path) -> str:
    """Return all that a folder's files of text hold, and its names."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    texts = [path.read_text() for path in paths if path.suffix in (".json", ".log", ".yaml")]
    return "\n".join([*map(str, paths), *texts])


@pytest.mark.parametrize(
    "written",
    [
        "{0}", "no file '{0}'", "{0!r}", "found {0!r}, expected", "{1}", "{2}", "{3}", "{4}",
        "x{0}y",
    ],
)  # fmt: skip
def test_a_value_is_found_in_any_spelling(written: str) -> None:
    value = SECRETS["TOKEN"]
    joined = " ".join(value.split())
    lone = value.splitlines()[0]
    text = written.format(value, json.dumps(value), joined, lone, value.upper())
    scrubbed = EnvironmentValues(values={value: "${oc.env:TOKEN}"}).scrubbed(text)
    assert "${oc.env:TOKEN}" in scrubbed
    assert not {"first", "zweite", "key"} & set(scrubbed.casefold().replace("-", " ").split())


def test_a_short_value_is_no_part_of_a_word() -> None:
    values = EnvironmentValues(values={"4": "${oc.env:N}"})
    assert values.scrubbed("expected 14 or 4, found '4'") == (
        "expected 14 or ${oc.env:N}, found '${oc.env:N}'"
    )


def test_a_configuration_keeps_the_text_whatever_is_made_of_a_value(secrets: None) -> None:
    del secrets
    OmegaConf.register_new_resolver("test.upper", lambda text: str(text).upper(), replace=True)
    OmegaConf.register_new_resolver("test.length", lambda text: len(str(text)), replace=True)
    cfg = OmegaConf.create(
        {
            "plain": "${oc.env:TOKEN}",
            "part": "https://${oc.env:TOKEN}@host",
            "other": "${part}",
            "number": "${oc.decode:${oc.env:PIN}}",
            "list": "${oc.decode:${oc.env:MATRIX}}",
            "upper": "${test.upper:${oc.env:TOKEN}}",
            "length": "${test.length:${oc.env:TOKEN}}",
            "node": {"below": "${oc.env:PIN}"},
            "copied": "${node}",
            "default": "${oc.env:NOT_SET_ANYWHERE,8080}",
            "own": 3,
            "unknown": float("nan"),
        }
    )
    found = values_from_environment(cfg)
    assert "unknown" not in found.places
    assert math.isnan(found.config.pop("unknown"))
    assert found.config == {
        "plain": "${oc.env:TOKEN}",
        "part": "https://${oc.env:TOKEN}@host",
        "other": "https://${oc.env:TOKEN}@host",
        "number": "${oc.decode:${oc.env:PIN}}",
        "list": "${oc.decode:${oc.env:MATRIX}}",
        "upper": "${test.upper:${oc.env:TOKEN}}",
        "length": "${test.length:${oc.env:TOKEN}}",
        "node": {"below": "${oc.env:PIN}"},
        "copied": {"below": "${oc.env:PIN}"},
        "default": "${oc.env:NOT_SET_ANYWHERE,8080}",
        "own": 3,
    }
    assert found.places == {*found.config} - {"own", "node", "copied"} | {
        "node.below",
        "copied.below",
    }
    assert "FIRST" not in found.scrubbed(f"{cfg.upper} {cfg.number:,}")
    assert "8,675" not in found.scrubbed(f"{cfg.number:,}")


def test_a_value_as_an_argument_is_not_recorded(secrets: None, tmp_path: Path) -> None:
    del secrets
    (tmp_path / "own/model").mkdir(parents=True)
    (tmp_path / "own/model/mine.yaml").write_text(MODEL)
    flags = ["--config-dir", str(tmp_path / "own"), "model=mine", "hydra.run.dir=run"]
    assert main(flags) == 0
    record = runner.open_run("run").record
    arguments = {layer.path: layer.arguments for layer in record.layers}
    scaled, hidden = arguments["scaled"], arguments["hidden"]
    assert scaled is not None
    assert hidden is not None
    assert (scaled["scale"], scaled["offset"]) == ("${oc.env}", "${oc.env}")
    assert (hidden["units"], hidden["activation"]) == (2, "${oc.env}")
    assert not [secret for secret in ("8675309", "relu") if secret in held(Path("run"))]


@pytest.mark.parametrize(
    "word",
    [
        "loss=null ++loss.class_name=${oc.env:TOKEN}",
        "model.hidden_units=${oc.env:TOKEN}",
        "probe=csv probe.path=${oc.env:TOKEN}",
        "probe=csv probe.path=data/${oc.env:TOKEN}.csv",
        "+model.layers.hidden.kernel_initializer=${oc.env:TOKEN}",
        "model=saved model.path=${oc.env:TOKEN}",
        "format=${oc.env:TOKEN}",
    ],
)
def test_a_value_is_in_no_error(
    word: str, secrets: None, capsys: pytest.CaptureFixture[str]
) -> None:
    del secrets
    words = [word for word in word.split() if word != "loss=null"]
    assert main(["-m", "seed=0,1", *words, "hydra.sweep.dir=s"]) in (1, 2)
    said = "".join(capsys.readouterr()) + (held(Path("s")) if Path("s").is_dir() else "")
    assert "${oc.env:TOKEN}" in said
    assert not [part for part in ("first-line", "zweite", "a/key") if part in said]
    with pytest.raises(InputError) as caught:
        runner.run(*words, "hydra.run.dir=one")
    assert not [part for part in ("first-line", "zweite", "a/key") if part in str(caught.value)]


PIN = "${oc.decode:${oc.env:PIN}}"
EXPERIMENT = r"""
probe: {source: random, rows: 4}
model:
  input_shape: [3]
  factor: "${oc.decode:${oc.env:PIN}}"
  layers:
    scaled: {class_name: Rescaling, scale: "${model.factor}"}
    last: {class_name: Dense, units: 2}
loss: {class_name: MeanSquaredError}
optimizer: {class_name: Adam}
"""
ADVICE = "write the value itself, or type it on the command line: {}=..."
WRITTEN = "comes from the environment, and would be written into the run"


def refusals(words: list[str]) -> list[str]:
    """Return the lines that refuse `EXPERIMENT` with some keys set."""
    try:
        config: Any = OmegaConf.merge(OmegaConf.create(EXPERIMENT), OmegaConf.from_dotlist(words))
        experiment_of(config)
    except InputError as error:
        return [str(problem) for problem in error.problems]
    return []


@pytest.mark.usefixtures("secrets")
@pytest.mark.parametrize(
    ("words", "places"),
    [
        ([f"seed={PIN}"], ["seed"]),
        ([f"probe.rows={PIN}"], ["probe.rows"]),
        ([f"probe.shapes={{input: ['{PIN}']}}"], ["probe.shapes.input.0"]),
        ([f"train.data={{source: random, rows: '{PIN}'}}"], ["train.data.rows"]),
        ([f"capture.batch_size={PIN}"], ["capture.batch_size"]),
        ([f"intervene.last={{scale: '{PIN}'}}"], ["intervene.last.scale"]),
        (["intervene.last={patch: '${oc.env:PLAIN}', samples: {a: '${oc.env:PLAIN}'}}"],
         ["intervene.last.patch", "intervene.last.samples.a"]),
        ([f"model.input_shape=['{PIN}']"], ["model.input_shape.0"]),
        ([f"model.layers.last.units={PIN}"], ["model.layers.last.units"]),
        (["train.metrics=[{class_name: MeanSquaredError, name: '${oc.env:PLAIN}'}]"],
         ["train.metrics.0.name"]),
        (["train.callbacks.a={class_name: CSVLogger, filename: '${oc.env:PLAIN}.csv'}"],
         ["train.callbacks.a.filename"]),
    ],
)  # fmt: skip
def test_a_value_that_a_run_would_write_is_refused(words: list[str], places: list[str]) -> None:
    assert refusals(words) == [f"{place}: {WRITTEN}; {ADVICE.format(place)}" for place in places]


@pytest.mark.usefixtures("secrets")
@pytest.mark.parametrize(
    "path",
    [
        "s3://${oc.env:TOKEN}.example.com/x.csv",
        "${.delimiter}${oc.env:TOKEN}",
        "${oc.env:MISSING,'s3://his/'}${oc.env:TOKEN}",
        "${oc.decode:${.delimiter}${oc.env:PLAIN}}",
    ],
)
def test_a_value_that_a_url_would_send_is_refused(path: str) -> None:
    config: Any = OmegaConf.create(EXPERIMENT)
    config.probe = {"source": "csv", "delimiter": "s3://his/", "path": path}
    with pytest.raises(InputError) as caught:
        experiment_of(config)
    said = "comes from the environment, and would be sent to the place that a URL names"
    assert f"probe.path: {said}; {ADVICE.format('probe.path')}" in str(caught.value).splitlines()


@pytest.mark.usefixtures("secrets")
def test_a_mapping_from_a_variable_names_no_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROBE", "{source: csv, path: 's3://his/x.csv'}")
    config: Any = OmegaConf.create(EXPERIMENT)
    config.probe = "${oc.decode:${oc.env:PROBE}}"
    with pytest.raises(InputError, match=r"(?m)^probe\.path: .* would be sent to the place that"):
        experiment_of(config)


@pytest.mark.usefixtures("secrets")
@pytest.mark.parametrize("path", ["${oc.env:PLACE}", "${oc.env:PLACE}/x.csv"])
def test_a_url_may_begin_with_a_value(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE", "s3://mine/data")
    config: Any = OmegaConf.create(EXPERIMENT)
    config.probe = {"source": "csv", "path": path}
    config.extra = {"mine": "s3://mine/${oc.env:PLACE}"}
    assert "s3://mine/data" in experiment_of(config).probe.path  # type: ignore[attr-defined]


@pytest.mark.parametrize("form", ["{}", "'{}'", '"{}"'])
@pytest.mark.parametrize("text", ["${oc.env:SEED}", "${oc.decode:${oc.env:SEED}}"])
def test_a_seed_typed_as_a_variable_is_its_value(
    form: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEED", "4711")
    composition, _ = compose_one([f"seed={form.format(text)}"], "a")
    assert (composition.experiment.seed, composition.config["seed"]) == (4711, 4711)
    assert composition.overrides == ("seed=4711",)


@pytest.mark.usefixtures("secrets")
def test_only_the_variable_of_a_seed_is_filled_in_and_only_if_typed(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment/mine.yaml").write_text(
        "# @package _global_\nseed: ${oc.decode:${oc.env:PIN}}\n"
    )
    own = ["--config-dir", str(tmp_path), "experiment=mine"]
    with pytest.raises(InputError, match=rf"^seed: {WRITTEN}; .* on the command line: seed="):
        compose_one(own, "a")
    for word in ("seed=${oc.env:TOKEN}", "seed=${name}", "seed=1${oc.env:PIN}"):
        with pytest.raises(InputError, match=r"^(seed|name): "):
            compose_one([word, "name=${oc.env:PIN}"], "a")


def test_the_ids_of_an_inline_probe_do_not_come_from_the_environment(secrets: None) -> None:
    del secrets
    config: Any = OmegaConf.create(EXPERIMENT)
    config.probe = {"source": "inline", "inputs": [[1, 2, 3]], "ids": ["${oc.env:PLAIN}"]}
    with pytest.raises(InputError, match=rf"^probe\.ids\.0: {WRITTEN}"):
        experiment_of(config)


@pytest.mark.usefixtures("secrets")
@pytest.mark.parametrize(
    ("words", "source", "place"),
    [
        ([f"extra.pin={PIN}", "seed=${extra.pin}"], "extra.pin", "seed"),
        (["model.layers.last.units=${model.factor}"], "model.factor", "model.layers.last.units"),
        (["train.callbacks.a={class_name: ModelCheckpoint, filepath: a.keras}"],
         "model.factor", "model.layers.scaled.scale"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_key_that_the_value_comes_from(
    words: list[str], source: str, place: str
) -> None:
    assert refusals(words) == [f"{source}: {WRITTEN} as {place}; {ADVICE.format(source)}"]


@pytest.mark.usefixtures("secrets")
def test_a_saved_model_takes_only_paths_from_the_environment(tmp_path: Path) -> None:
    weights = tmp_path / "relu.weights.h5"
    weights.touch()
    words = [
        "train.save_model=true", "loss.name=${oc.env:PLAIN}", "optimizer.name=${oc.env:PLAIN}",
        f"model.weights={tmp_path}/${{oc.env:PLAIN}}.weights.h5",
    ]  # fmt: skip
    places = [line.partition(": ")[0] for line in refusals(words)]
    assert places == ["loss.name", "model.factor", "optimizer.name"]


@pytest.mark.usefixtures("secrets")
@pytest.mark.parametrize(
    "words",
    [
        ["name=${oc.env:PLAIN}"],
        ["model.layers.last.activation=${oc.env:PLAIN}"],
        ["train.epochs=1", "loss.name=${oc.env:PLAIN}"],
        [f"train.data={{source: random, rows: 4, seed: '{PIN}'}}"],
    ],
)
def test_a_value_that_no_file_holds_is_accepted(words: list[str]) -> None:
    assert refusals(words) == []


def test_the_time_does_not_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable is found by resolving the configuration twice, maybe in different seconds."""
    monkeypatch.setenv("RUNNER_TEST_SECRET", "a")
    register_resolvers("00000000")
    cfg = OmegaConf.create({"one": "${oc.env:RUNNER_TEST_SECRET}", "time": "${now:%f}"})
    found = values_from_environment(cfg)
    assert found.places == {"one"}
    assert found.config["time"] == cfg.time


def test_a_value_is_replaced_whole_and_nothing_similar_is_suggested() -> None:
    values = EnvironmentValues(values={"/house/": "${oc.env:HOME}"})
    problem = Problem("a", "unknown layer class '/house/'", "did you mean 'Rot'? all are there")
    told = values.told(InputError([problem]))
    assert str(told) == "a: unknown layer class '${oc.env:HOME}'; all are there"
    other = InputError.of("a", "unknown layer class 'Dens'", "did you mean 'Dense'?")
    assert str(values.told(other)).endswith("did you mean 'Dense'?")
