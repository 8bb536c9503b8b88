"""Configurations that stand for far more than what is written are refused in one line."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from runner.config import unfolding
from runner.config.compose import validate
from runner.config.grammar import parsed_overrides
from runner.config.hydra_arguments import parse_arguments
from runner.config.loading import Loader
from runner.config.overrides import parameter_problems
from runner.config.resolve import resolved
from runner.config.yaml_files import check_yaml_files
from runner.errors import InputError, Problem, short_line

TEN = range(10)


def chain(*parts: str, first: str = "y" * 10) -> dict[str, Any]:
    """Return values of which each refers to the one before it ten times."""
    return {"x0": first, **{f"x{i}": "".join(parts).replace("#", f"x{i - 1}") for i in range(1, 9)}}


def refused(text: str, path: str = "experiment/mine.yaml", *words: str) -> str:
    """Return the lines that refuse a file."""
    file = Path("own", path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    words = words or ("experiment=mine",)
    with pytest.raises(InputError) as caught:
        validate(parse_arguments(["--config-dir", "own", *words]), "0" * 8).composition()
    return str(caught.value)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lower the limits, as OmegaConf needs a second for some thousands of interpolations."""
    for kind in ("interpolations", "values"):
        monkeypatch.setitem(unfolding._LIMITS, kind, 300)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("values", "place", "kind"),
    [
        (chain("${#}" * 10), "x3", "300 interpolations"),
        ({f"x{i}": [f"${{x{i - 1}}}"] * 10 for i in range(1, 9)} | {"x0": 1}, "x3.1", "300 inter"),
        ({"x0": ["y"] * 100, "x1": ["${x0}"] * 10}, "x1.2", "300 values"),
        (chain("${oc.select:#}" * 10), "x3", "300 interpolations"),
        (chain("${oc.select:${oc.decode:#}}" * 10), "x3", "300 interpolations"),
        (chain('${oc.decode:"' + r"\${#}" * 10 + '"}'), "x3", "300 interpolations"),
        (chain(r"${oc.create:['\${#}','\${#}','\${#}']}"), "x5", "300 interpolations"),
        ({"x": {"y": "${oc.dict.values:z}"}, "z": {"a": ["${w}"] * 400}, "w": 1}, "x.y", "300 int"),
    ],
)  # fmt: skip
def test_references_to_references_are_refused(
    values: dict[str, Any], place: str, kind: str
) -> None:
    with pytest.raises(InputError) as caught:
        resolved(OmegaConf.create(values))
    [problem] = caught.value.problems
    assert problem.place.startswith(place)
    assert f"unfolds to more than {kind}" in problem.message


def test_a_long_text_referred_to_often_is_refused() -> None:
    cfg = OmegaConf.create({"x0": "y" * 100_000, "x1": "${x0}" * 11})
    with pytest.raises(InputError, match=r"x1: unfolds to more than 1,000,000 characters by its"):
        resolved(cfg)


def test_nodes_that_contain_each_other_are_refused() -> None:
    cfg = OmegaConf.create({"a": {"b": "${c}"}, "c": {"d": "${a}"}})
    with pytest.raises(InputError, match="config: is nested too deeply to be read"):
        resolved(cfg)


def test_what_is_written_may_be_large_and_referred_to() -> None:
    cfg = OmegaConf.create(
        {"x0": list(range(2_000)), "x1": "${x0}", "x2": "${x1}", "y": "z" * 10**6}
    )
    plain, problems = resolved(cfg)
    assert problems == []
    assert plain["x2"] == list(range(2_000))
    assert len(plain["y"]) == 10**6


def test_other_uses_of_omegaconf_are_not_bounded() -> None:
    cfg = OmegaConf.create({"x0": "y" * 100_000, "x1": "${x0}" * 11})
    assert len(cfg.x1) == 1_100_000


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("where", ["model: {%s}", "hydra: {sweeper: {params: {%s}}}"])
def test_a_file_is_refused_before_hydra_resolves_it(where: str) -> None:
    key = where.partition("%")[0].replace(": {", ".")
    values = chain(f"${{{key}#}}" * 10)
    text = where % ", ".join(f"{name}: '{value}'" for name, value in values.items())
    assert ": unfolds to more than 300 interpolations" in refused(f"# @package _global_\n{text}")


@pytest.mark.parametrize(
    ("call", "name"),
    [("oc.deprecated:y,'$OLD_KEY'", "oc.deprecated"), ("oc.create:'[1]'", "oc.create")],
)
def test_a_resolver_whose_result_is_far_larger_is_refused(call: str, name: str) -> None:
    plain, [problem] = resolved(OmegaConf.create({"x": f"${{{call}}}", "y": 1}))
    assert plain == {"y": 1}
    assert problem.place == "x"
    assert f"{name} is not available here" in problem.message


@pytest.mark.parametrize(
    ("key", "text"), [("extra.i", "extra: {i: %s}"), ("hydra.run.dir", "hydra: {run: {dir: %s}}")]
)
def test_a_resolver_that_warns_is_refused_before_it_does(key: str, text: str) -> None:
    text %= "\"${oc.deprecated:headline,'old'}\""
    with warnings.catch_warnings(record=True) as told:
        said = refused(f"# @package _global_\n{text}")
    assert said.startswith(f"{key}: ")
    assert said.endswith("cannot be resolved: oc.deprecated is not available here")
    assert not told


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hydra: null", "config: Hydra cannot compose it: "),
        ("hydra: {mode: FOO}", "hydra.mode: Invalid value 'FOO', expected one of [RUN, MULTIRUN]"),
        ("hydra: {run: {dir: null}}", "hydra.run.dir: Incompatible value 'None' for field of type"),
        ("a: 0x_", "own/experiment/mine.yaml:2: '0x_' is not a valid YAML int; write it in quotes"),
        ("? 0b_\n: 3", "own/experiment/mine.yaml:2: '0b_' is not a valid YAML int"),
        ("a: " + "1" * 6000, "own/experiment/mine.yaml:2: '1111"),
        ("a: 0x" + "f" * 6000, "own/experiment/mine.yaml:2: '0xff"),
        ("a: " + "1:" * 4000 + "1", "own/experiment/mine.yaml:2: '1:1:"),
        ("a: !!int ''", "own/experiment/mine.yaml:2: '' is not a valid YAML int"),
        ("a: !!bool x", "own/experiment/mine.yaml:2: 'x' is not a valid YAML bool"),
        ("a: !!timestamp x", "own/experiment/mine.yaml:2: 'x' is not a valid YAML timestamp"),
        ("a: " + "[" * 200_000, "own/experiment/mine.yaml: is nested too deeply to be read"),
        ("? " * 200_000, "own/experiment/mine.yaml: is nested too deeply to be read"),
        (
            f"a: &x {'y' * 500_000}\nb: [{','.join(['*x'] * 500)}]",
            "own/experiment/mine.yaml: unfolds to 250,500,002 characters, the limit is 10,000,000",
        ),
        ("a: &x {b: &y {c: 1}, <<: *y}\nd: [" + "*x," * 50_000 + "]", "unfolds to 450,013 values"),
    ],
)
def test_a_value_that_yaml_cannot_convert_is_refused(text: str, said: str) -> None:
    line = refused(f"# @package _global_\n{text}")
    assert said in line
    assert "\n" not in line
    assert len(line) <= 500


def test_texts_and_small_numbers_are_left_to_yaml(tmp_path: Path) -> None:
    text = f"a: '0x_'\nb: {'y' * 2000}\nc: '{'1' * 6000}'\nd: 1_000\ne: 1e999\nf: 2020-01-01\n"
    (tmp_path / "a.yaml").write_text(text)
    check_yaml_files(tmp_path)


def test_a_number_of_many_digits_on_the_command_line_is_refused() -> None:
    with pytest.raises(InputError, match=r"^seed: Hydra cannot read the value 1+…1+; quote it"):
        parsed_overrides(["seed=" + "1" * 6000])


def test_a_list_of_very_many_entries_on_the_command_line_is_refused() -> None:
    many = ",".join(["'[,'", r"\[", "{b: 1}"] * 700)
    with pytest.raises(InputError) as refused:
        parsed_overrides([f"+a=[{many}]", f"custom_modules={{x: choice([{many}])}}"])
    what = "has a list or mapping of more than 2,000 entries; write it in a file of --config-dir"
    assert str(refused.value).splitlines() == [f"+a: {what}", f"custom_modules: {what}"]
    for fine in (f"seed={many}", f"seed=choice({many})", f'name="[{many}]"'):
        parsed_overrides([fine])


def test_a_choice_that_is_no_file_name_is_refused() -> None:
    loader = Loader(parse_arguments([]))
    with pytest.raises(InputError, match=r"^model: there is no config 'x+…x+'; there are"):
        loader.load(["model=" + "x" * 400])


def test_a_problem_is_one_line_of_500_characters() -> None:
    long = "a\n\x1b[2J" * 100_000
    for problem in (Problem(long, long, long), Problem("", long), Problem("x", "y", long)):
        assert len(str(problem)) <= 500
        assert str(problem).isprintable()
        assert "…" in str(problem)
    assert str(Problem("model." + "k" * 10**6, "unknown key", "remove it")).startswith("model.kkk")
    assert str(Problem("k" * 10**6, "unknown key", "remove it")).endswith(
        "k: unknown key; remove it"
    )
    assert len(short_line(long)) == 500
    assert str(Problem("a" * 100, "b" * 200, "c" * 150)) == f"{'a' * 100}: {'b' * 200}; {'c' * 150}"


def test_an_error_tells_the_first_problems_and_counts_the_others() -> None:
    error = InputError(Problem(f"k{number}", "unknown key") for number in range(100_000))
    lines = str(error).split("\n")
    assert lines[:2] == ["k0: unknown key", "k1: unknown key"]
    assert lines[20:] == ["and 99,980 more"]
    assert len(error.problems) == 100_000


def test_keys_of_a_model_are_looked_for_at_once() -> None:
    keys = {f"k{number}": number for number in range(300)}
    layers = {"d": {"units": "${model.k1}", "name": "${oc.select:model.k2,${..k3}}", "x": "k4"}}
    base = OmegaConf.create({"model": {**keys, "": 1, "layers": layers, "input_shape": "${.k5}"}})
    places = [problem.place for problem in parameter_problems(base, [])]
    used = {"k1", "k2", "k3", "k5"}
    assert places == [f"model.{key}" for key in [*keys, ""] if key not in used]


@pytest.mark.parametrize("keys", ["{1: a, b: c}", "{1.5: a, 2: b}"])
def test_keys_of_several_types_are_refused(keys: str) -> None:
    callback = f"{{class_name: TensorBoard, embeddings_metadata: {keys}}}"
    text = (
        "# @package _global_\ndefaults:\n  - override /model: iris_mlp\n"
        "  - override /probe: iris\n  - override /train: fit\n"
        "  - override /loss: sparse_categorical_crossentropy\n"
        f"train: {{epochs: 1, callbacks: {{t: {callback}}}}}\n"
    )
    place = "train.callbacks.t.embeddings_metadata"
    said = f"{place}: has keys of several types, or of bytes; write all its keys in quotes"
    assert refused(text) == said


def test_files_that_include_each_other_twice_are_refused() -> None:
    Path("own/tree").mkdir(parents=True)
    Path("own/tree/level30.yaml").write_text("a: 1\n")
    for level in range(30):
        below = f"  - level{level + 1}@"
        Path(f"own/tree/level{level}.yaml").write_text(f"defaults:\n{below}a\n{below}b\n")
    line = refused("# @package _global_\ndefaults: [/tree/level0@extra]\n")
    assert line.startswith("defaults: include more than 300 files, counted as often as included; ")


def test_a_file_that_is_included_often_counts_as_often() -> None:
    Path("own/tree").mkdir(parents=True)
    Path("own/tree/many.yaml").write_text(yaml.safe_dump({"x": [0] * 2000}))
    includes = [f"/tree/many@extra.a{number}" for number in range(60)]
    line = refused(f"# @package _global_\ndefaults: {json.dumps(includes)}\n")
    assert line.startswith("defaults: include more than 10,000 values, counted as often as inclu")
    assert line.endswith("; tree/many.yaml is one of the files")
