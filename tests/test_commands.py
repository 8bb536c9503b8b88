from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from making import make_run

from runner.command_line.commands import COMMANDS, main


def run_command(*arguments: str, after: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own; `after` is code to run at its end."""
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent.parent)!r})\n"
    code += (
        f"from runner.command_line.commands import main; code = main({list(arguments)!r})\n{after}"
    )
    return subprocess.run(
        [sys.executable, "-c", f"{code}\nsys.exit(code)"],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def errors(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert not captured.out
    return captured.err


def test_list_has_a_line_a_run_the_newest_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path / "outputs/1", run_id="aaaa1111", overrides=("x=" + "long" * 50, "y=[red]"))
    make_run(tmp_path / "outputs/2", run_id="bbbb2222", name="이름", error="no memory")
    assert main(["list"]) == 0
    heading, newer, older = capsys.readouterr().out.splitlines()
    assert heading.split() == ["id", "name", "ended", "status", "model", "seed", "overrides"]
    assert newer.split()[:2] == ["bbbb2222", "이름"]
    assert newer.split()[4] == "FAILED"
    assert older.split()[0] == "aaaa1111"
    assert older.split()[3:] == ["COMPLETED", "Functional", "0", "x=" + "long" * 50, "y=[red]"]


def test_list_says_how_many_it_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        make_run(tmp_path / f"mine/{number}", run_id=f"aaaa000{number}")
    assert main(["list", "--outputs", "mine", "--limit", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["id", "aaaa0002", "1"]
    assert lines[-1] == "1 of 3 runs in mine"
    assert main(["list"]) == 0
    assert capsys.readouterr().out == "0 of 0 runs in outputs\n"


def test_list_warns_of_a_record_that_it_cannot_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "outputs/bad").mkdir(parents=True)
    (tmp_path / "outputs/bad/run.json").write_text("{")
    assert main(["list"]) == 0
    warned = capsys.readouterr().err
    assert warned.startswith("warning: left out: outputs/bad/run.json: not a run record: ")
    assert warned.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["show"], "last: there is no run in outputs; python -m runner makes one"),
        (["show", "abc", "--outputs", "o"], "abc: no folder of a run, and no id or name in o; "),
        (
            ["list", "--limit", "few"],
            "runner list: argument --limit: expected a number, found 'few'",
        ),
        (
            ["list", "--limt", "2"],
            "runner list: unknown argument '--limt'; did you mean '--limit'?",
        ),
        (["verify", "--x=1"], "runner verify: unknown argument '--x'; runner verify --help lists"),
        (["list", "--outputs", "o"], "--outputs: there is no folder 'o'"),
        (["explain"], "runner explain: the following arguments are required: LAYER"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    said = errors(capsys)
    assert said.startswith(f"error: {line}")
    assert said.count("\n") == 1


def test_the_traceback_is_shown_if_wanted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RUNNER_TRACEBACK", "1")
    assert main(["show"]) == 2
    first, *_, last = errors(capsys).splitlines()
    assert first.startswith("Traceback")
    assert last.startswith("error: last: there is no run")


@pytest.mark.parametrize("name", COMMANDS.own)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    assert f"usage: runner {name}" in capsys.readouterr().out


def three_jobs(folder: Path) -> None:
    """Publish a sweep of three runs that share a name."""
    for job in range(3):
        make_run(folder / f"outputs/{job}", run_id=f"5eed5eed-{job}", sweep="5eed5eed",
                 name="many", overrides=("name=many", f"seed={job}"))  # fmt: skip


@pytest.mark.parametrize("name", ["many", "5eed5eed", "5eed", "outputs"])
def test_show_and_verify_take_a_whole_sweep(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    three_jobs(tmp_path)
    assert main(["show", name]) == 0
    said = capsys.readouterr().out
    assert said.startswith("sweep  5eed5eed\n       3 of 3 runs completed\n\nrun ")
    assert "\n5eed5eed-2  COMPLETED  1        name=many seed=2\n" in said
    assert said.endswith("next   python -m runner report 5eed5eed\n")
    assert main(["verify", name]) == 0
    assert capsys.readouterr().out.count("files, none wrong") == 3
    assert main(["show"]) == 0  # the last run alone
    assert capsys.readouterr().out.startswith("run    5eed5eed-2, many\n")


@pytest.mark.parametrize("command", [["explain", "hidden"], ["rerun"], ["diff", "last"]])
def test_where_one_run_is_wanted_those_of_the_sweep_are_listed(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    three_jobs(tmp_path)
    assert main([*command, "many"]) == 2
    assert errors(capsys) == (
        "error: many: expected one run, 3 fit: 5eed5eed-0 (many seed=0), 5eed5eed-1 (many seed=1), "
        "5eed5eed-2 (many seed=2); type the id of one, such as 5eed5eed-0\n"
    )


def test_explain_shows_a_layer_for_the_first_sample_and_what_may_be_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path / "outputs/1", name="mine", samples=("a", "b", "c"))
    values = "   value\nu0     {}\nu1     {}\nu2     {}\nu3     {}\n"
    for arguments in (["hidden"], ["hidden", "mine"]):
        assert main(["explain", *arguments]) == 0
        assert capsys.readouterr().out == (
            f"hidden, sample a, run 0a1b2c3d: 4\n\n{values.format(0, 1, 2, 3)}\n"
            "units    u0 to u3\n"
            "samples  a, b, c\n"
            "next     python -m runner explain hidden u3 0a1b2c3d --sample a\n"
            "sample a is the first of 3; --sample ID shows another\n"
        )
    assert main(["explain", "hidden", "mine", "--sample", "c"]) == 0
    assert values.format(8, 9, 10, 11).replace(
        "     1", "    1"
    ) in capsys.readouterr().out.replace("     1", "    1")
    assert main(["explain", "hidden", "u9"]) == 2
    assert "hidden: no unit 'u9'; there are u0, u1, u2, u3" in errors(capsys)
    assert main(["explain", "hidden", "nine", "mine"]) == 2
    assert "hidden: no unit 'nine'; there are u0, u1, u2, u3" in errors(capsys)
    assert main(["explain", "hidden", "nothing"]) == 2
    assert "nothing: no folder of a run, and no id or name in outputs" in errors(capsys)


def test_show_prints_a_run_found_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path / "outputs/1", name="mine", error="the disk is full")
    assert main(["show", "mine"]) == 0
    assert "the disk is full" in capsys.readouterr().out


def test_schema_is_written_to_the_screen_or_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["schema"]) == 0
    printed = capsys.readouterr().out
    assert main(["schema", "--output", "schema.json"]) == 0
    assert (tmp_path / "schema.json").read_text("utf-8") == printed
    (tmp_path / "kept.json").write_text("kept")
    (tmp_path / "link.json").symlink_to("kept.json")
    assert main(["schema", "--output", "link.json"]) == 0
    assert (tmp_path / "kept.json").read_text() == "kept"
    assert (tmp_path / "link.json").read_text("utf-8") == printed
    assert main(["schema", "--output", "/dev/null"]) == 0
    assert main(["schema", "--output", "no/such/folder.json"]) == 2
    assert (
        errors(capsys)
        == "error: no/such/folder.json: cannot be written: No such file or directory\n"
    )


@pytest.mark.parametrize("arguments", [["list"], ["show", "last"], ["schema"]])
def test_no_command_imports_tensorflow(tmp_path: Path, arguments: list[str]) -> None:
    make_run(tmp_path / "outputs/1")
    loaded = "print(sorted({'tensorflow', 'keras'} & set(sys.modules)), file=sys.stderr)"
    done = run_command(*arguments, after=loaded)
    assert (done.returncode, done.stderr) == (0, "[]\n")


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    for number in range(50):
        make_run(tmp_path / f"outputs/{number}", overrides=("x" * 5000,))
    code = "import sys; from runner.command_line.commands import main; "
    code += "sys.exit(main(['list', '--limit', '50']))"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PYTHONPATH": str(Path(__file__).parent.parent)},
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b"id")
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr as stderr:
        assert stderr.read() == b""
    assert process.wait(timeout=60) == 0


def test_every_run_below_a_folder_is_verified(capsys: pytest.CaptureFixture[str]) -> None:
    folders = [Path(f"outputs/sweep/{job}") for job in "012"]
    for job, folder in enumerate(folders):
        make_run(folder, run_id=f"aaaa1111-{job}")
    assert main(["verify", "outputs/sweep"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [f"aaaa1111-{job}" for job in range(3)]
    table = next(path for path in folders[0].rglob("*.parquet"))
    table.write_bytes(table.read_bytes() + b"x")
    record = folders[2] / "run.json"
    record.write_bytes(record.read_bytes() + b"x")
    assert main(["verify", "outputs"]) == 1
    said = capsys.readouterr()
    assert [", 1 wrong" in said.out, said.out.count("none wrong")] == [True, 1]
    table_line, record_line = said.err.splitlines()
    assert table_line.startswith(f"error: {table}: damaged: ")
    assert record_line.startswith(f"error: {record}: not a run record: ")
    assert main(["rerun", "outputs/sweep"]) == 2
    line = "error: outputs/sweep: expected one run, 3 are below it: outputs/sweep/0, outputs/sweep"
    assert capsys.readouterr().err.splitlines()[-1].startswith(line)
    assert main(["verify", ""]) == 2
    assert "no folder of a run" in capsys.readouterr().err
