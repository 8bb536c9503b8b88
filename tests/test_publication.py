from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from command import in_process

from runner.errors import InputError, RunError
from runner.record.hashing_thread import HashingThread
from runner.record.publication import HashedFile, Publication
from runner.stores.digests import FileDigest
from runner.stores.local_draft import LocalDraft
from runner.stores.places import write_beside


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    """Start another process that publishes."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
    )


def test_a_published_folder_holds_what_was_written_and_nothing_is_left_beside_it(
    tmp_path: Path,
) -> None:
    with Publication(LocalDraft(tmp_path / "day" / "run")) as publication:
        publication.write("activations/00_hidden.parquet", b"table")
        assert publication.publish(b"{}").place() == str(tmp_path / "day" / "run")
    assert names(tmp_path) == {"day/run/activations/00_hidden.parquet", "day/run/run.json"}
    assert (tmp_path / "day/run/activations/00_hidden.parquet").read_bytes() == b"table"


def test_digests_are_of_the_bytes_that_were_written(tmp_path: Path) -> None:
    parts = [b"one", memoryview(b"two"), bytearray(100_000)]
    with Publication(LocalDraft(tmp_path / "run")) as publication:
        with publication.open("a/b.bin") as file:
            assert [file.write(part) for part in parts] == [3, 3, 100_000]
        digest = publication.files["a/b.bin"]
        publication.publish(b"{}")
    content = (tmp_path / "run/a/b.bin").read_bytes()
    assert content == b"".join(parts)
    assert digest == FileDigest(len(content), hashlib.sha256(content).hexdigest())


def test_more_files_are_written_in_turn_than_a_process_may_open(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="Windows has another limit")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
    try:
        with Publication(LocalDraft(tmp_path / "run")) as publication:
            files = [publication.open(f"{number}.bin") for number in range(300)]
            for part in (b"first, ", b"x" * 10_000, b", last"):
                for file in files:
                    file.write(part)
            for file in files:
                file.close()
            publication.publish(b"{}")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    content = {path.read_bytes() for path in (tmp_path / "run").glob("*.bin")}
    assert content == {b"first, " + b"x" * 10_000 + b", last"}
    assert len(publication.files) == 300


def test_nothing_appears_before_it_is_published(tmp_path: Path) -> None:
    with Publication(LocalDraft(tmp_path / "run")) as publication:
        publication.write("a", b"1")
        [staging] = tmp_path.iterdir()
        assert staging.name.startswith(".run.")
        assert f".{os.getpid()}." in staging.name
        assert not (staging / "run.json").exists()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_nothing_behind(tmp_path: Path, error: type[BaseException]) -> None:
    def publish_half() -> None:
        with Publication(LocalDraft(tmp_path / "run")) as publication:
            publication.write("a", b"1")
            publication.open("still/open").write(b"2")
            raise error

    with pytest.raises(error):
        publish_half()
    assert not list(tmp_path.iterdir())


def test_an_empty_folder_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with Publication(LocalDraft(tmp_path / "run")) as publication:
        publication.publish(b"{}")
    assert names(tmp_path) == {"run/run.json"}


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(InputError, match="exists and is not empty; name another one, or move"):
        LocalDraft(tmp_path).check()
    with pytest.raises(InputError, match="not empty"), Publication(LocalDraft(tmp_path)):
        pass
    assert names(tmp_path) == {"mine.txt"}


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(InputError, match="run: cannot be an output folder: Not a directory"):
        LocalDraft(tmp_path / "run").check()


def test_a_parent_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    sealed = tmp_path / "sealed"
    sealed.mkdir(mode=0o500)
    if os.access(sealed, os.W_OK):
        sealed = Path("/proc")  # a superuser may write everywhere else
    with (
        pytest.raises(InputError, match=f"{sealed}: nothing can be written here: "),
        Publication(LocalDraft(sealed / "run")),
    ):
        pass


def test_a_name_too_long_for_the_disk_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be an output folder: File name too long"):
        LocalDraft(tmp_path / ("n" * 256)).check()


@pytest.mark.parametrize("name", ["n" * 255, "가" * 85])
def test_a_name_as_long_as_can_be_is_published(tmp_path: Path, name: str) -> None:
    with Publication(LocalDraft(tmp_path / name)) as publication:
        publication.publish(b"{}")
    assert names(tmp_path) == {f"{name}/run.json"}


def test_the_working_directory_can_be_the_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    with Publication(LocalDraft(Path())) as publication:
        publication.publish(b"{}")
    assert names(tmp_path) == {"run/run.json"}
    assert names(Path()) == {"run.json"}


def test_a_relative_target_is_that_of_the_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere/run").mkdir(parents=True)
    (tmp_path / "elsewhere/run/mine.txt").touch()
    monkeypatch.chdir(tmp_path)
    draft = LocalDraft(Path("run"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    with Publication(draft) as publication:
        publication.publish(b"{}")
    assert names(tmp_path) == {"run/run.json", "elsewhere/run/mine.txt"}


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    with Publication(LocalDraft(tmp_path / "run")) as publication:
        publication.write("a", b"1")
        with pytest.raises(RunError, match="a: File exists; the run was not published"):
            publication.open("a")


def test_much_at_once_is_hashed_as_it_was_when_it_was_written(tmp_path: Path) -> None:
    threads = threading.active_count()
    data = bytearray(1_000_000)
    with Publication(LocalDraft(tmp_path / "run")) as publication:
        with publication.open("a") as file:
            for value in range(5):
                data[:] = bytes([value]) * len(data)
                file.write(data)
                file.write(bytes(data))  # read-only: hashed later, in the same order
                file.write(b"few")
        publication.publish(b"{}")
    content = (tmp_path / "run/a").read_bytes()
    assert content == b"".join(bytes([value]) * len(data) * 2 + b"few" for value in range(5))
    assert publication.files["a"] == FileDigest(len(content), hashlib.sha256(content).hexdigest())
    assert threading.active_count() == threads


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full")
def test_a_full_disk_is_said_with_the_table() -> None:
    files: dict[str, FileDigest] = {}
    hashing = HashingThread()
    for size in (100_000, 1_000_000):
        disk = Path("/dev/full").open("wb")  # noqa: SIM115
        table = HashedFile(disk, "activations/00_hidden.parquet", files, hashing)
        with pytest.raises(
            RunError, match=r"00_hidden\.parquet: the disk is full; the run was not published"
        ):
            table.write(bytes(size))
        table.abandon(LocalDraft(Path("run")))
    hashing.stop()
    small = HashedFile(Path("/dev/full").open("wb"), "summary.parquet", files, hashing)  # noqa: SIM115
    small.write(b"fits the buffer")
    with pytest.raises(RunError, match=r"summary\.parquet: the disk is full") as caught:
        small.close()
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENOSPC
    assert small.closed
    assert not files


def test_of_several_processes_one_wins_and_the_others_are_told(tmp_path: Path) -> None:
    code = """
        import sys, time
        from pathlib import Path
        from runner.errors import RunnerError
        from runner.record.publication import Publication
        from runner.stores.local_draft import LocalDraft
        me, ready = sys.argv[1], Path(sys.argv[2])
        with Publication(LocalDraft(Path("run"))) as publication:
            publication.write("who", me.encode())
            (ready / me).touch()
            while len(list(ready.iterdir())) < 8:
                time.sleep(0.001)
            try:
                publication.publish(b"{}")
                print("won")
            except RunnerError as error:
                print(error)
    """
    ready = tmp_path / "ready"
    ready.mkdir()
    racers = [start(code, str(number), str(ready)) for number in range(8)]
    answers = [racer.communicate(timeout=60) for racer in racers]
    said = [out.strip() for out, _ in answers]
    assert said.count("won") == 1, answers
    lost = f"{tmp_path / 'run'}: another run was published here first; this one was not"
    assert said.count(lost) == 7
    assert (tmp_path / "run/who").read_text() == str(said.index("won"))
    assert names(tmp_path / "run") == {"who", "run.json"}
    assert {path.name for path in tmp_path.iterdir()} == {"ready", "run"}


def test_a_killed_process_leaves_no_run(tmp_path: Path) -> None:
    code = """
        import time
        from pathlib import Path
        from runner.record.publication import Publication
        from runner.stores.local_draft import LocalDraft
        with Publication(LocalDraft(Path("run"))) as publication:
            publication.write("a", b"1")
            print("staged", flush=True)
            time.sleep(60)
    """
    process = start(code)
    assert process.stdout is not None
    assert process.stdout.readline() == "staged\n"
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert not (tmp_path / "run").exists()
    assert not list(tmp_path.rglob("run.json"))
    [staging] = tmp_path.iterdir()
    assert staging.name.startswith(".")
    next_one = """
        from pathlib import Path
        from runner.record.publication import Publication
        from runner.stores.local_draft import LocalDraft
        with Publication(LocalDraft(Path("run"))) as publication:
            publication.publish(b"{}")
    """
    process = start(next_one)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert (tmp_path / "run/run.json").exists()


def test_what_others_stage_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = """
        import sys
        from pathlib import Path
        from runner.record.publication import Publication
        from runner.stores.local_draft import LocalDraft
        with Publication(LocalDraft(Path("run"))) as publication:
            publication.write("a", b"1")
            print("staged", flush=True)
            sys.stdin.readline()
            publication.publish(b"{}")
    """
    process = start(code)
    assert process.stdout is not None
    assert process.stdout.readline() == "staged\n"
    elsewhere = tmp_path / ".run.another-host.1.00000000.staging"
    elsewhere.mkdir()
    of_nobody = tmp_path / ".mine.staging"
    of_nobody.mkdir()
    with Publication(LocalDraft(tmp_path / "other")) as publication:
        publication.publish(b"{}")
    process.communicate("\n", timeout=60)
    assert process.returncode == 0
    assert (tmp_path / "run/run.json").exists()
    assert elsewhere.exists()
    assert of_nobody.exists()


def test_a_process_that_ends_takes_what_it_staged_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code = """
        from pathlib import Path
        from runner.record.publication import Publication
        from runner.stores.local_draft import LocalDraft
        publication = Publication(LocalDraft(Path("run"))).__enter__()
        publication.write("a", b"1")
        print(len(list(Path().iterdir())), flush=True)
    """
    process = start(code)
    out, _ = process.communicate(timeout=60)
    assert out == "1\n"
    assert not list(tmp_path.iterdir())


def test_what_interrupted_runs_have_left_is_cleaned_and_no_run_that_is_written(
    tmp_path: Path,
) -> None:
    left = tmp_path / "day/.run.another-host.1.00000000.staging"
    left.mkdir(parents=True)
    (left / "probe.parquet").write_bytes(bytes(2000))
    with Publication(LocalDraft(tmp_path / "day/mine")) as publication:
        publication.write("a", b"1")
        told = in_process("clean", str(tmp_path)).stdout
        assert told == f"{left}: 1 file, 2.0 kB\nnothing was removed; to remove this, add --yes\n"
        assert left.exists()
        assert in_process("clean", str(tmp_path), "--yes").stdout.endswith("\nremoved 1\n")
        publication.publish(b"{}")
    assert [path.name for path in (tmp_path / "day").iterdir()] == ["mine"]
    assert in_process("clean", "none").stdout == "none: nothing is left of interrupted runs\n"


def test_a_file_beside_runs_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "multirun.yaml").mkdir()
    with pytest.raises(RunError, match=r"/multirun\.yaml: Is a directory; the run was not publ"):
        write_beside(tmp_path, "multirun.yaml", b"")
