"""A disk that fails: nothing is lost in silence, nothing damaged is published."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import runner
from runner.command_line.entry import main
from runner.errors import InputError, RunError
from runner.record.publication import Publication
from runner.sameness.verification import damage
from runner.stores.local_draft import LocalDraft

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What lets operations fail, compiled to be preloaded."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs Linux and a C compiler")
    library = tmp_path_factory.mktemp("faults") / "faults.so"
    built = [compiler, "-shared", "-fPIC", "-o", str(library), str(HERE / "faults.c"), "-ldl"]
    subprocess.run(built, check=True)
    return library


@pytest.mark.parametrize(
    ("way", "every", "least"),
    [
        ("publication", 1, 150),
        pytest.param("command", 20, 24, marks=[pytest.mark.slow, pytest.mark.timeout(600)]),
    ],
)
def test_whatever_operation_fails_it_is_told_and_nothing_damaged_is_published(
    faults: Path, tmp_path: Path, way: str, every: int, least: int
) -> None:
    found = subprocess.run(
        [sys.executable, HERE / "faulty_disk.py", way, tmp_path / "disk", str(every)],
        env={**os.environ, "LD_PRELOAD": str(faults), "PYTHONPATH": str(HERE.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    summary = re.fullmatch(r"(\d+) faults, (\d+) told\n", found.stdout)
    assert summary is not None, found.stdout
    tried, told = map(int, summary.groups())
    assert tried > least
    assert told > tried / 2  # the others Python makes good: what was interrupted or cut short


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if (
        not sys.platform.startswith("linux")
        or subprocess.run(words, capture_output=True).returncode
    ):
        pytest.skip("may not mount a file system")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_too_small_for_the_tables_is_said_before_they_are_begun(
    small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["probe=random", "probe.rows=100000", f"hydra.run.dir={small_disk}/run"]
    assert main(words) == 1
    said = rf"error: {small_disk}: the tables need about 4.0 MB, and 1.0 MB are free\n"
    assert re.fullmatch(said, capsys.readouterr().err)


def test_a_disk_that_fills_up_on_the_way_leaves_no_table(
    small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["probe=random", "probe.rows=24000", f"hydra.run.dir={small_disk}/run"]
    assert main(words) == 1
    said = r"error: [\w./]+: the disk is full; the run was not published\n"
    assert re.fullmatch(said, capsys.readouterr().err)
    assert runner.open_run(small_disk / "run").record.status == "FAILED"
    assert {path.name for path in small_disk.rglob("*.parquet")} == set()


def test_another_file_system_cannot_become_the_run(small_disk: Path) -> None:
    said = f"{small_disk}: [A-Z][a-z -]+; the run was not published"
    with pytest.raises(RunError, match=said), Publication(LocalDraft(small_disk)) as publication:
        publication.publish(b"{}")
    assert list(small_disk.parent.iterdir()) == [small_disk]
    assert not list(small_disk.iterdir())


def test_a_folder_that_may_only_be_read_is_refused() -> None:
    code = """
import os, sys
from runner.command_line.entry import main
if os.getuid() == 0:
    main(["hydra.run.dir=/proc/none/run"])  # what is not imported yet may be out of reach then
    os.setgid(65534)
    os.setuid(65534)
sys.exit(main([f"hydra.run.dir={sys.argv[1]}/day/run"]))
"""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)
        found = subprocess.run(
            [sys.executable, "-c", code, folder],
            env={**os.environ, "PYTHONPATH": str(HERE.parent)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert found.returncode == 2
        said = f"error: {folder}/day/run: the output folder cannot be made: Permission denied"
        assert found.stderr.splitlines()[-1] == f"{said}; name another one"
        assert not list(Path(folder).iterdir())


def test_names_as_long_as_can_be() -> None:
    assert main([f"hydra.run.dir='{'가' * 85}'", f"name={'n' * 255}"]) == 0
    run = runner.open_run("가" * 85)
    assert run.record.name == "n" * 255
    assert not list(damage(run))
    with pytest.raises(InputError, match="File name too long"):
        runner.run(f"hydra.run.dir={'n' * 256}")
