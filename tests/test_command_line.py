"""The command line as a person types it, in processes of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from command import in_process
from making import make_run

import runner
from runner.command_line import signals
from runner.model.backend import ENGINES

ROOT = Path(__file__).parent.parent


def typed(*words: str, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "runner", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def left() -> list[str]:
    """Return whatever a command left in the working directory."""
    return sorted(str(path) for path in Path().rglob("*"))


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["model.hiden_units=8"], "model.hiden_units: unknown key; did you mean 'hidden_units'?"),
        (["shwo", "last"], "shwo: unknown command; did you mean 'show'?"),
        (["probe=csv", "probe.path=data(1).csv"], "'probe.path=\"data(1).csv\"'"),
        (["probe=csv", "probe.path=missing.csv"], "missing.csv"),
        (
            ["model=digits_cnn"],
            "has 3 values a sample, the model expects 8 x 8 x 1; experiment=digits_cnn shows",
        ),
        (["optimizer=adma"], "optimizer: there is no config 'adma'; did you mean 'adam'?"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(words: list[str], line: str) -> None:
    done = typed(*words, code=2)
    assert line in done.stderr
    assert all(said.startswith("error: ") for said in done.stderr.splitlines())
    assert left() == []


def test_mistakes_that_only_keras_can_see_leave_nothing_either() -> None:
    done = in_process("model.layers.hidden.class_name=LSTM", code=2)
    assert done.stderr == (
        "error: model.layers.hidden: LSTM expects an input of 3 axes with the sample axis, "
        "found 2: (None, 3)\n"
    )
    assert left() == []


@pytest.mark.parametrize(
    ("words", "code"),
    [(["--help"], 0), (["--cfg", "job"], 0), (["seed=-1"], 2), (["show"], 2), (["list"], 0)],
)
def test_asking_does_not_import_tensorflow(words: list[str], code: int) -> None:
    program = (
        "import sys\n"
        "from runner.command_line.entry import main\n"
        f"try: code = main({words!r})\n"
        "except SystemExit as exit: code = exit.code or 0\n"
        "loaded = {'tensorflow', 'keras'} & set(sys.modules)\n"
        "print(code, loaded, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.splitlines()[-1] == f"{code} set()", done.stderr


def test_help_is_runners_own_and_fits_a_screen() -> None:
    said = typed("--help").stdout
    assert len(said.splitlines()) <= 40
    assert max(map(len, said.splitlines())) <= 80
    assert said.count("python -m runner") >= 8
    assert "explain LAYER UNIT" in said


def test_the_default_run_prints_the_tutorial_and_can_be_read_back() -> None:
    said = typed().stdout
    run = runner.open_run("last")
    assert "0.36428273" in said
    assert said.isascii()
    assert max(map(len, said.splitlines())) <= 80
    assert sorted(path.name for path in run.path.iterdir()) == [
        ".hydra", "activations", "probe.parquet", "run.json", "run.log", "summary.parquet",
        "weights",
    ]  # fmt: skip
    assert sorted(path.name for path in (run.path / ".hydra").iterdir()) == [
        "config.yaml", "hydra.yaml", "overrides.yaml",
    ]  # fmt: skip


def test_hydra_keeps_the_meaning_of_its_run_folder() -> None:
    in_process("hydra.run.dir=here/mine", "name=first")
    assert runner.open_run("here/mine").record.name == "first"
    done = in_process("hydra.run.dir=here/mine", code=2)
    assert "the output folder exists and is not empty" in done.stderr
    assert runner.open_run("first", outputs="here").config["seed"] == 0


def test_a_sweep_runs_every_job_and_lists_the_failed_ones() -> None:
    done = in_process("-m", "seed=0,1", "model.layers.hidden.class_name=Dense,LSTM", code=1)
    assert "2 of 4 runs completed" in done.stdout
    assert "LSTM expects an input of 3 axes" in " ".join(done.stdout.split())
    runs = runner.open_runs("last")
    assert [run.record.status for run in runs] == ["COMPLETED", "FAILED"] * 2
    assert runs.differing == ["seed", "model.layers.hidden.class_name"]
    table = runs.where(status="COMPLETED").table("hidden")
    assert list(table.index.names) == ["seed", "sample"]


def test_a_sweep_over_units_reads_as_one_frame() -> None:
    in_process("-m", "seed=0,1,2", "model.hidden_units=4,8")
    runs = runner.open_runs("last")
    assert runs.differing == ["seed", "model.hidden_units"]
    with pytest.raises(runner.InputError, match='align="union"'):
        runs.table("hidden")
    table = runs.table("hidden", align="union")
    assert table.shape == (18, 8)
    assert len(runs.where(**{"model.hidden_units": 8}).table("hidden")) == 9


def test_a_config_folder_of_ones_own() -> None:
    model = Path("my_conf/model/mine.yaml")
    model.parent.mkdir(parents=True)
    model.write_text(
        "width: 5\ninput_shape: [3]\n"
        "layers:\n  only: {class_name: Dense, units: '${model.width}'}\n"
    )
    in_process("--config-dir", "my_conf", "model=mine", "model.width=6")
    assert runner.open_run()["only"].shape == (3, 6)


@pytest.mark.slow
def test_two_runs_started_together_get_folders_of_their_own() -> None:
    command = [sys.executable, "-m", "runner"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    both = [subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert len(runner.open_runs("outputs")) == 2


def test_a_dry_run_says_what_it_would_write_and_writes_nothing() -> None:
    said = in_process("dry_run=true").stdout
    assert "activations/hidden" in said
    assert "nothing was written" in said
    assert left() == []


def test_secrets_of_the_environment_reach_no_file() -> None:
    typed("name='${oc.env:MY_SECRET}'", MY_SECRET="hush")
    for path in Path().rglob("*"):
        if path.is_file():
            assert b"hush" not in path.read_bytes(), path


@pytest.mark.parametrize(
    "name",
    ["SIGTERM", *(pytest.param(each, marks=pytest.mark.slow) for each in ("SIGINT", "SIGUSR1"))],
)
def test_a_signal_ends_both_threads_and_keeps_nothing(name: str) -> None:
    number = getattr(signal, name)
    words = ["model=digits_mlp", "probe=random", "probe.rows=5000000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "runner", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list(Path().rglob(".*.staging/activations/*")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert said.strip() == "interrupted; the current run was not published"
    assert left() == []


def test_a_signal_is_not_raised_while_a_lock_is_taken() -> None:
    condition = threading.Condition()
    condition.acquire()
    taking = threading.Thread(target=condition.__enter__, daemon=True)
    taking.start()
    assert taking.ident is not None
    while sys._current_frames()[taking.ident].f_code is not threading.Condition.__enter__.__code__:
        time.sleep(0.01)
    before = signal.signal(signal.SIGUSR1, signals._stop)
    try:
        with pytest.raises(signals.Stopped, match=str(int(signal.SIGUSR1))):  # noqa: PT012
            signals._stop(signal.SIGUSR1, sys._current_frames()[taking.ident])
            time.sleep(5)
    finally:
        signal.signal(signal.SIGUSR1, before)
        signals._received.clear()
        condition.release()
        taking.join()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder nobody can write to")
@pytest.mark.parametrize("words", [["hydra.run.dir=/proc/a/b"], ["-m", "hydra.sweep.dir=/proc/a"]])
def test_a_folder_that_cannot_be_made_is_one_line(words: list[str]) -> None:
    said = typed(*words, code=2).stderr
    folder = words[-1].partition("=")[2]
    assert said.startswith(f"error: {folder}: the output folder cannot be made")
    assert len(said.splitlines()) == 1


def shell(line: str) -> subprocess.CompletedProcess[str]:
    """Run a line of a shell in which ``runner`` is this Runner."""
    start = f'runner() {{ "{sys.executable}" -m runner "$@"; }}; '
    return subprocess.run(
        ["bash", "-c", start + line],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("words", ["schema", "--cfg job", "--help"])
def test_a_full_stdout_is_one_line(words: str) -> None:
    done = shell(f"runner {words} > /dev/full")
    assert done.returncode == 1
    assert done.stderr == "error: standard output: No space left on device\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("where", ["2> /dev/full", "2>&-", "2> >(true)"])
def test_messages_that_cannot_be_written_leave_the_result(where: str) -> None:
    kept = "run.json is kept"
    Path("lost/.hydra").mkdir(parents=True)
    Path("lost/run.json").write_text(kept)  # of which each command warns
    listed = shell(f"runner list --outputs . {where}")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "UNREADABLE" in listed.stdout
    wrong = shell(f"runner show nothing {where}")
    assert (wrong.returncode, wrong.stdout, wrong.stderr) == (2, "", "")


@pytest.mark.parametrize("words", [["--cfg", "job"], ["verify", "."]])
def test_modules_of_the_working_directory_are_not_imported(words: list[str]) -> None:
    for name in ("yaml", "keras", "pandas", "pickle", "queue", "hydra_plugins/mine/__init__"):
        path = Path(f"{name}.py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("from pathlib import Path\nPath(__file__ + '.was_run').touch()\n")
    make_run(Path("0"))
    for number in range(1, 400):  # so many are read by several processes
        shutil.copytree("0", str(number))
    done = shell(" ".join(["runner", *words]))
    assert (done.returncode, done.stderr) == (0, "")
    assert not list(Path().rglob("*.was_run"))


def test_a_reader_that_has_seen_enough_is_no_failure() -> None:
    done = shell("runner schema | head -1; echo ${PIPESTATUS[0]}; runner list >&-; echo $?")
    assert (done.stdout, done.stderr) == ("{\n0\n0\n", "")


def test_a_working_directory_that_is_gone_is_one_line() -> None:
    done = shell("mkdir gone; cd gone; rmdir ../gone; runner list")
    if "No module named" in done.stderr:
        pytest.skip("this Python finds no module from there")
    assert done.returncode == 2
    assert done.stderr == "error: working directory: was deleted; change to another one\n"


def test_the_version_is_that_of_runner() -> None:
    lines = typed("--version").stdout.splitlines()
    names = ["Runner", "Hydra", "Keras", "NumPy", "pandas", "PyArrow"]
    names += [each.title for each in ENGINES.values()]
    assert [line.partition(" ")[0] for line in lines] == names


def test_hydras_grammar_is_read_without_assertions_too() -> None:
    code = (
        "from runner.config.grammar import parsed_overrides; "
        "print([o.value() for o in parsed_overrides(['a={b: 1}', 'c=sort(2,1)', 'd=[1,2]'])])"
    )
    said = [
        subprocess.run(
            [sys.executable, *flags, "-c", code],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for flags in ([], ["-O"])
    ]
    assert said[0] == said[1]
    assert "{'b': 1}" in said[1]
