"""A sweep gives what its jobs give alone, keeps what is done, and says what failed."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Annotated

import pytest
from command import in_process
from forging import forge
from making import make_run
from omegaconf import OmegaConf

from hydra_plugins.runner_sweeper.sweeper import leave_memory_of_cluster
from runner.config import value_columns
from runner.config.batches import Batch, batches_of
from runner.config.cheap_keys import CHEAP, changed, cheap_fields, without
from runner.config.compose import compose_one
from runner.config.grammar import INTEGER, parsed_overrides
from runner.config.sharing import CHEAP_KEYS, is_cheap
from runner.config.strict import Strict
from runner.errors import InputError, RunError
from runner.experiment.earlier import held, make_room, outcomes_of
from runner.experiment.experiment import publish_failure
from runner.experiment.shared_model import SharedModel
from runner.record.header import Header
from runner.runs.locate import open_run, open_runs

ROOT = Path(__file__).parent.parent


def command_line(*words: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "runner", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )


def tables(folder: Path) -> dict[str, bytes]:
    """Every file of a run but what tells when and as what it was run."""
    own = ("run.json", "run.log", ".hydra/hydra.yaml")
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    return {name: data for name, data in files.items() if name not in own}


def record(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return found


def test_jobs_that_differ_in_cheap_keys_alone_are_one_batch() -> None:
    words = ["a=1,2", "seed=0,1,'${a}'", "b=3"]
    assert batches_of(parsed_overrides(words)) == [
        Batch(("a=1", "seed=0", "b=3"), {0: ("seed=0",), 1: ("seed=1",)}),
        Batch(("a=1", "seed='${a}'", "b=3"), {2: ()}),
        Batch(("a=2", "seed=0", "b=3"), {3: ("seed=0",), 4: ("seed=1",)}),
        Batch(("a=2", "seed='${a}'", "b=3"), {5: ()}),
    ]
    assert batches_of(parsed_overrides(["name=x,'y z'", "seed=range(0,2)"])) == [
        Batch(
            ("name=x", "seed=0"),
            {
                0: ("name=x", "seed=0"),
                1: ("name=x", "seed=1"),
                2: ("name='y z'", "seed=0"),
                3: ("name='y z'", "seed=1"),
            },
        )
    ]
    [one, other] = batches_of(parsed_overrides(["++seed=0,1"]))  # adds the key if there is none
    assert (one.jobs, other.jobs) == ({0: ()}, {1: ()})
    words = ["++intervene.hidden.units=0,[1,2]", "++intervene.hidden.set=0,mean"]
    [one] = batches_of(parsed_overrides(words))
    assert one.jobs[2] == ("++intervene.hidden.units=[1,2]", "++intervene.hidden.set=0")
    assert value_columns.read(value_columns.written(one.jobs)) == one.jobs
    assert len(batches_of(parsed_overrides(["++intervene.hidden.patch=a,b"]))) == 2


def of_seeds(seeds: dict[int, int]) -> dict[int, tuple[str, ...]]:
    return {number: (f"seed={seed}",) for number, seed in seeds.items()}


@pytest.mark.parametrize(
    ("jobs", "text"),
    [
        ({0: ()}, "0:1:0"),
        (of_seeds({3: 7}), "3:1:0;seed=7:1:0"),
        (of_seeds(dict(enumerate(range(10_000)))), "0:10000:1;seed=0:10000:1"),
        (of_seeds({2 * n: 100 - n for n in range(50)}), "0:50:2;seed=100:50:-1"),
        (of_seeds({0: 0, 1: 1, 2: 2, 3: 9, 7: 2}), "0:4:1,7:1:0;seed=0:3:1,9:2:-7"),
        (of_seeds({number: number**3 % 101 for number in range(0, 300, 3)}), None),
        (
            {n: (f"name={'ab'[n // 3]}", f"seed={n % 3}") for n in range(6)},
            "0:6:1;name==a:3:0,=b:3:0;seed=0:3:1,0:3:1",
        ),
        ({4: ("name=007",), 5: ("name='a,b;c=d:e'",), 6: (r"name=${x}\\'%3A",)}, None),
    ],
)
def test_values_are_listed_in_a_short_text(
    jobs: dict[int, tuple[str, ...]], text: str | None
) -> None:
    assert value_columns.read(value_columns.written(jobs)) == jobs
    assert text in (None, value_columns.written(jobs))
    [word] = parsed_overrides([Batch((), jobs).words()[-1]])
    assert value_columns.read(str(word.value())) == jobs


@pytest.mark.parametrize("text", ["0", "7", "-5", "4294967296", "007", "+5", "1_000", "-0", "٣"])
def test_an_integer_is_read_as_hydra_reads_it(text: str) -> None:
    try:
        found = parsed_overrides([f"seed={text}"])[0].value()
    except InputError:
        found = None
    is_one_form = isinstance(found, int) and str(found) == text
    assert (INTEGER.fullmatch(text) is not None) == is_one_form


def test_a_batch_splits_into_parts_that_begin_with_their_own_values() -> None:
    jobs = of_seeds({0: 7, 2: 8, 4: 9})
    batch = Batch(("seed=7", "a=1"), jobs)
    assert list(batch.parts(2)) == [
        Batch(("seed=7", "a=1"), of_seeds({0: 7, 2: 8})),
        Batch(("seed=9", "a=1"), of_seeds({4: 9})),
    ]
    assert batch.words() == ["seed=7", "a=1", "hydra.sweeper.jobs='0:3:2;seed=7:3:1'"]


def test_a_field_is_marked_as_cheap_where_it_is_declared() -> None:
    assert sorted(CHEAP_KEYS) == ["name", "seed"]
    assert is_cheap("intervene.hidden.noise.std")
    assert not is_cheap("intervene.hidden.add")

    class Inner(Strict):
        scale: Annotated[float, CHEAP] = 1.0
        units: int = 2

    class Outer(Strict):
        inner: Inner = Inner()

    assert list(cheap_fields(Outer)) == ["inner.scale"]
    outer = changed(Outer(), "inner.scale", 2.5)
    assert outer == Outer(inner=Inner(scale=2.5))
    assert changed({"inner": {"units": 2}, "a": 1}, "inner.scale", 2.5) == {
        "inner": {"units": 2, "scale": 2.5},
        "a": 1,
    }
    assert without(outer, ["inner.scale"]) == without(Outer(), ["inner.scale"])


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six jobs in two groups, one value of three wrong."""
    folder = tmp_path_factory.mktemp("sweep")
    words = ("-m", "model.hidden_units=4,0,3", "seed=3,4,5", "hydra.sweep.dir=outputs/mine")
    done = command_line(*words, folder=folder)
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("6 of 9 runs completed: outputs/mine\n")
    assert done.stdout.count("model.hidden_units: must be >= 1, found 0") == 3
    return folder / "outputs/mine"


@pytest.mark.parametrize("seed", [3, 5])
def test_a_job_is_what_the_same_run_alone_is(sweep: Path, tmp_path: Path, seed: int) -> None:
    words = ("model.hidden_units=3", f"seed={seed}", "hydra.run.dir=alone")
    in_process(*words, folder=tmp_path)
    [job] = sweep.glob(f"*_hidden_units=3,seed={seed}")
    mine, alone = tables(job), tables(tmp_path / "alone")
    # the order of the overrides is that of the command line
    assert mine == alone
    kept = ("config", "seed", "seeding", "layers", "model", "probe", "fingerprint", "status")
    assert {key: record(job)[key] for key in kept} == {
        key: record(tmp_path / "alone")[key] for key in kept
    }


def test_a_wrong_choice_is_recorded_and_stops_no_other(sweep: Path) -> None:
    statuses = [record(folder)["status"] for folder in sweep.iterdir() if folder.is_dir()]
    assert sorted(map(str, statuses)) == ["COMPLETED"] * 6 + ["FAILED"] * 3
    [failed] = sweep.glob("*_hidden_units=0,seed=3")
    assert record(failed)["error"] == "model.hidden_units: must be >= 1, found 0"
    assert record(failed)["overrides"] == ["model.hidden_units=0", "seed=3"]
    runs = open_runs(sweep)
    assert runs.differing == ["seed", "model.hidden_units"]
    assert runs.frame["model.hidden_units"].tolist() == [4] * 3 + [0] * 3 + [3] * 3


def test_a_config_that_is_not_there_fails_in_its_own_jobs(tmp_path: Path) -> None:
    words = ("-m", "model=tutoral,tutorial", "hydra.sweep.dir=s")
    done = in_process(*words, folder=tmp_path, code=1)
    assert "1 of 2 runs completed" in done.stdout
    error = "model: there is no config 'tutoral'; did you mean 'tutorial'?"
    assert record(tmp_path / "s/0_model=tutoral")["error"] == error
    assert open_runs(tmp_path / "s").differing == []


def test_a_sweep_of_nothing_right_is_refused(tmp_path: Path) -> None:
    in_process("-m", "model=tutoral,tutori", folder=tmp_path, code=2)
    assert list(tmp_path.iterdir()) == []


def test_what_is_done_is_not_run_again_and_what_changed_is_superseded(tmp_path: Path) -> None:
    probe = tmp_path / "x.csv"
    probe.write_text("a,b,c\n1,2,3\n4,5,6\n")
    words = ("-m", "seed=0,1,2", "probe=csv", "probe.path=x.csv", "hydra.sweep.dir=s")
    in_process(*words, folder=tmp_path)
    folders = sorted(path for path in (tmp_path / "s").iterdir() if path.is_dir())
    before = [(folder / "run.json").read_bytes() for folder in folders]
    table = folders[1] / "activations/00_hidden.parquet"
    damaged = bytearray(table.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    table.write_bytes(damaged)
    shutil.rmtree(folders[2])

    with warnings.catch_warnings():
        warnings.simplefilter("default")
        again = in_process(*words, folder=tmp_path)
    assert "activations/00_hidden.parquet: damaged: " in again.stderr
    assert "; the job is run again" in again.stderr
    after = [(folder / "run.json").read_bytes() for folder in folders]
    assert [a == b for a, b in zip(after, before, strict=True)] == [True, False, False]
    assert len(list((tmp_path / "s/.superseded").iterdir())) == 1
    assert {record(folder)["sweep"] for folder in folders} == {record(folders[0])["sweep"]}
    assert len(open_runs(tmp_path / "s")) == 3

    probe.write_text("a,b,c\n1,2,3\n4,5,7\n")
    in_process(*words, folder=tmp_path)
    assert all((f / "run.json").read_bytes() not in after for f in folders)
    assert len(list((tmp_path / "s/.superseded").iterdir())) == 4


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)],
)
def test_a_stopped_sweep_keeps_what_is_complete_and_goes_on(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    words = ["-m", "seed=range(0,1500)", "hydra.sweep.dir=s"]
    process = subprocess.Popen(
        [sys.executable, "-m", "runner", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    limit = time.monotonic() + 60
    while len(list(tmp_path.glob("s/*/run.json"))) < 5:
        assert time.monotonic() < limit
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=10)
    assert process.returncode == code, err
    assert 'to continue: python -m runner -m "seed=range(0,1500)"' in out.replace("'", '"')
    assert "Traceback" not in err
    there = [path for path in (tmp_path / "s").iterdir() if path.is_dir()]
    assert 5 <= len(there) < 1500
    assert not [path for path in there if path.name.startswith(".")]
    for folder in there:
        assert record(folder)["status"] == "COMPLETED"
    again = in_process("-m", "seed=range(0,3)", "hydra.sweep.dir=s", folder=tmp_path)
    assert "3 of 3 runs completed" in again.stdout


@pytest.mark.slow
def test_a_signal_whose_exception_is_lost_stops_the_sweep_after_the_job(tmp_path: Path) -> None:
    (tmp_path / "lost.py").write_text(
        "import keras, signal\n"
        "class Ending:\n"
        "    def __del__(self):\n"
        "        signal.raise_signal(signal.SIGTERM)  # Python ignores what is raised here\n"
        "@keras.saving.register_keras_serializable(package='own')\n"
        "class Lost(keras.layers.Layer):\n"
        "    def call(self, x):\n"
        "        Ending()\n"
        "        return x\n"
    )
    words = ["-m", "model.hidden_units=range(1,40)", "custom_modules=[lost]", "hydra.sweep.dir=s"]
    layer = '+model.layers.lost={class_name: "own>Lost"}'
    done = subprocess.run(
        [sys.executable, "-m", "runner", *words, layer],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 143, done.stderr
    assert "to continue: python -m runner -m" in done.stdout
    assert 0 < len(list(tmp_path.glob("s/*/run.json"))) < 39


def test_a_model_whose_weights_come_another_way_is_built_for_every_job(tmp_path: Path) -> None:
    (tmp_path / "from_numpy.py").write_text(
        "import keras, numpy as np\n"
        "@keras.saving.register_keras_serializable(package='own')\n"
        "class FromNumpy(keras.initializers.Initializer):\n"
        "    def __call__(self, shape, dtype=None):\n"
        "        return np.random.normal(size=shape).astype('float32')\n"
    )
    words = (
        "custom_modules=[from_numpy]",
        "model.seeding=keras",
        '+model.layers.hidden.kernel_initializer="own>FromNumpy"',
    )
    in_process("-m", "seed=1,1,2,3", *words, "hydra.sweep.dir=s", folder=tmp_path)
    in_process("seed=3", *words, "hydra.run.dir=alone", folder=tmp_path)
    jobs = sorted(path for path in (tmp_path / "s").iterdir() if path.is_dir())
    reasons = [record(job)["own_build_because"] for job in jobs]
    reason = "the seed changes 'hidden/kernel' differently than redrawing does"
    assert reasons == [None, None, reason, reason]
    assert tables(jobs[3]) == tables(tmp_path / "alone")
    assert reason in (jobs[3] / "run.log").read_text(encoding="utf-8")


def test_what_cannot_share_a_model_is_known_before_one_is_built() -> None:
    shared = SharedModel()
    composition, _ = compose_one(("experiment=iris_mlp", "train=fit"), "12345678")
    assert shared.showing(composition) is None
    assert shared.refusal == "it is trained"


def test_a_model_that_a_function_makes_is_shared_as_long_as_the_seed_is_the_same(
    tmp_path: Path,
) -> None:
    (tmp_path / "nets.py").write_text(
        "import keras, numpy as np\n"
        "made = []\n"
        "def build(shift=False):\n"
        "    made.append(1)\n"
        "    hidden = keras.layers.Dense(3, name='hidden')\n"
        "    model = keras.Sequential([keras.Input((2,)), hidden])\n"
        "    if shift:\n"
        "        hidden.bias.assign([len(made)] * 3)\n"
        "    return model\n"
    )
    words = ["model=function", "model.function=nets:build", "probe=random", "probe.rows=4"]
    changes = ["intervene.hidden.set=0", "intervene.hidden.units=0,1"]
    in_process("-m", "seed=1,2", *words, *changes, "hydra.sweep.dir=s", folder=tmp_path)
    jobs = sorted(path for path in (tmp_path / "s").iterdir() if path.is_dir())
    reason = "model.function may use the seed in any way"
    assert {(run := record(job))["own_build_because"]: run["seed"] for job in jobs} == {
        None: 1,
        reason: 2,
    }
    shifted = ["+model.arguments.shift=true", "hydra.sweep.dir=t"]
    in_process("-m", *words, *changes, *shifted, folder=tmp_path)
    jobs = sorted(path for path in (tmp_path / "t").iterdir() if path.is_dir())
    assert [record(job)["own_build_because"] for job in jobs] == [
        None,
        "'hidden' is another one if the model is built again",
    ]


def test_a_link_in_a_received_sweep_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    (tmp_path / "s").mkdir()
    (tmp_path / "s/multirun.yaml").symlink_to(tmp_path / "mine")
    in_process("-m", "seed=0,1", "hydra.sweep.dir=s", folder=tmp_path)
    assert (tmp_path / "mine").read_text() == "precious"
    assert not (tmp_path / "s/multirun.yaml").is_symlink()


def test_jobs_that_differ_in_their_names_share_a_model(tmp_path: Path) -> None:
    words = ("-m", "seed=1,2", "name=a,'b c',last", "hydra.sweep.dir=s")
    in_process(*words, folder=tmp_path, code=1)
    jobs = sorted(path for path in (tmp_path / "s").iterdir() if path.is_dir())
    found = [record(job) for job in jobs]
    assert [(run["seed"], run["name"], run["status"]) for run in found] == [
        (seed, name, "FAILED" if name == "last" else "COMPLETED")
        for seed in (1, 2)
        for name in ("a", "b c", "last")
    ]
    assert all(run["own_build_because"] is None for run in found)
    assert "'last' already means the latest run" in str(found[5]["error"])
    in_process("seed=2", "name='b c'", "hydra.run.dir=alone", folder=tmp_path)
    assert tables(jobs[4]) == tables(tmp_path / "alone")


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (
            ("name=a,b,c", "extra={units: {a: 4, b: 4, c: 3}}",
             'model.hidden_units="${extra.units.${name}}"'),
            ("name=c",),
        ),
        (
            ("seed=6,7,8", "custom_modules=[halves]", 'model.hidden_units="${half:${seed}}"'),
            ("seed=8",),
        ),
    ],
)  # fmt: skip
def test_values_that_only_the_third_job_changes_are_its_own(
    tmp_path: Path, words: tuple[str, ...], values: tuple[str, ...]
) -> None:
    (tmp_path / "halves.py").write_text(
        "from omegaconf import OmegaConf\n"
        "OmegaConf.register_new_resolver('half', lambda number: number // 2, replace=True)\n"
    )
    in_process("-m", *words, "hydra.sweep.dir=s", folder=tmp_path)
    in_process(*words[1:], *values, "hydra.run.dir=alone", folder=tmp_path)
    jobs = sorted(path for path in (tmp_path / "s").iterdir() if path.is_dir())
    assert (
        tables(jobs[2])["activations/00_hidden.parquet"]
        == (tables(tmp_path / "alone")["activations/00_hidden.parquet"])
    )


def test_a_probe_that_changes_with_the_seed_is_shown_to_a_model_of_its_own(
    tmp_path: Path,
) -> None:
    words = ("probe=random", "probe.rows=4", "probe.seed=${seed}", "name=n${seed}")
    in_process("-m", "seed=1,2,3", *words, "hydra.sweep.dir=s", folder=tmp_path)
    in_process("seed=3", *words, "hydra.run.dir=alone", folder=tmp_path)
    jobs = sorted(path for path in (tmp_path / "s").iterdir() if path.is_dir())
    assert tables(jobs[2]) == tables(tmp_path / "alone")
    reason = "more than the seed and interventions differ between the jobs"
    assert [record(job)["own_build_because"] for job in jobs] == [None, reason, reason]


def test_a_sweep_whose_id_looks_like_a_number_finds_its_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "token_hex", lambda _: "1234e567")
    in_process("-m", "seed=1,2", "hydra.sweep.dir=s", folder=tmp_path)
    assert record(tmp_path / "s/0_seed=1")["run_id"] == "1234e567-0"


@pytest.mark.slow
def test_joblib_gives_the_same_tables(sweep: Path, tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="needs the extra 'parallel'")
    words = ("model.hidden_units=4,0,3", "seed=3,4,5", "hydra/launcher=joblib")
    done = command_line("-m", *words, "hydra.launcher.n_jobs=2", "hydra.sweep.dir=s",
                        folder=tmp_path)  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "6 of 9 runs completed" in done.stdout
    there = {path.name for path in (tmp_path / "s").iterdir()}
    assert there == {path.name for path in sweep.iterdir()}
    for name in there - {"multirun.yaml"}:
        if "hidden_units=0" not in name:
            assert tables(tmp_path / "s" / name) == tables(sweep / name)


@pytest.mark.slow
@pytest.mark.timeout(600)  # each job's process imports TensorFlow
def test_submitit_gives_the_same_tables(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="needs the extra 'slurm'")
    jobs = ("-m", "seed=0,1,2", "experiment=iris_mlp", "train=fit", "train.epochs=2")
    in_process(*jobs, "hydra.sweep.dir=here", folder=tmp_path)
    launcher = "hydra/launcher=submitit_local"
    done = command_line(*jobs, "hydra.sweep.dir=there", launcher, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    here, there = (
        {path.name: tables(path) for path in (tmp_path / sweep).glob("*seed=*")}
        for sweep in ("here", "there")
    )
    assert len(here) == 3
    assert here == there


@pytest.mark.parametrize(
    ("launcher", "setting", "said"),
    [
        ("joblib", "n_jobs=100000000", "Numeric literal 100000000 is too large"),
        ("submitit_local", "nodes=5", "LocalExecutor can use only one node"),
        ("submitit_slurm", "nodes=1", 'Could not detect "srun"'),
    ],
)
def test_a_launcher_that_fails_is_told_in_a_line(
    launcher: str, setting: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = launcher.partition("_")[0]
    pytest.importorskip(f"hydra_plugins.hydra_{package}_launcher", reason="needs its extra")
    monkeypatch.setenv("PATH", str(tmp_path))  # no srun
    done = command_line("-m", "seed=0,1", "hydra.sweep.dir=s", f"hydra/launcher={launcher}",
                        f"hydra.launcher.{setting}", folder=tmp_path)  # fmt: skip
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith(f"error: hydra/launcher={launcher}: {said}")


@pytest.mark.parametrize(("words", "is_left"), [({"address": "auto"}, True), ({}, False)])
def test_a_cluster_of_ray_that_is_there_keeps_its_memory(
    words: dict[str, str], is_left: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray refuses to be told the size, which Hydra's launcher sets unless there is one."""
    plugin = pytest.importorskip("hydra_plugins.hydra_ray_launcher.ray_launcher")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    launcher = plugin.RayLauncher(OmegaConf.create({"init": words, "remote": {}}))
    leave_memory_of_cluster(launcher)
    assert launcher.ray_cfg.init == words | ({"object_store_memory": None} if is_left else {})


def test_runs_of_a_sweep_are_found_by_its_id(sweep: Path) -> None:
    outputs = sweep.parent
    sweep_id = str(record(next(sweep.glob("0_*")))["sweep"])
    assert len(open_runs(sweep_id, outputs)) == 9
    assert open_run(f"{sweep_id}-0", outputs).seed == 3


def test_one_sweep_at_a_time_has_a_folder(tmp_path: Path) -> None:
    with held(tmp_path):
        done = command_line("-m", "seed=0,1", f"hydra.sweep.dir={tmp_path}", folder=tmp_path)
    assert done.returncode == 2
    assert "another sweep is running in this folder; wait until it has ended" in done.stderr
    assert list(tmp_path.iterdir()) == []
    with held(tmp_path), pytest.raises(InputError, match="another sweep is running"):
        held(tmp_path).__enter__()


def test_jobs_are_known_by_their_overrides_whichever_sweep_made_them(tmp_path: Path) -> None:
    for number, sweep in ((0, "aaaaaaaa"), (1, "bbbbbbbb"), (2, "aaaaaaaa")):
        make_run(
            tmp_path / str(number),
            run_id=f"{sweep}-{number % 2}",
            sweep=sweep,
            overrides=(f"seed={number}",),
        )
    header = Header("eeeeeeee-2", overrides=("seed=7",))
    publish_failure(header, tmp_path / "7", RunError("error 7"))
    jobs = [("seed=0",), ("seed=1",), ("seed=7",), ("seed=8",)]
    assert outcomes_of(tmp_path, jobs, "eeeeeeee") == {"0": None, "1": None, "7": "error 7"}
    assert outcomes_of(tmp_path, jobs, "ffffffff") == {"0": None, "1": None}
    assert outcomes_of(tmp_path, [("seed=2",)], "ffffffff") == {"2": None}
    for name, hour, seconds in (("old", 2, 1.0), ("new", 1, 2.0)):  # the clock was set back
        times = {f"{what}ed": f"2026-01-01T0{hour}:00:01Z" for what in ("start", "end")}
        uptime = {"boot": "b" * 16, "seconds": seconds}
        make_run(tmp_path / name, overrides=("seed=5",))
        forge(tmp_path / name, lambda record, new=times | {"uptime": uptime}: record.update(new))
    assert outcomes_of(tmp_path, [("seed=5",)], "ffffffff") == {"new": None}
    with pytest.raises(InputError, match="'0' is the folder of two runs of the sweep"):
        make_room(tmp_path / "0", "aaaaaaaa-5")
    make_room(tmp_path / "0", "cccccccc-0")
    assert (tmp_path / ".superseded").is_dir()
