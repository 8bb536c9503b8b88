"""What is built from the checkout works where there is no checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="looks into bin/")]
ROOT = Path(__file__).parent.parent
OUTSIDE = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}


def done(*words: str | Path, **environment: str) -> str:
    """Run a program outside the checkout; return what it prints."""
    found = subprocess.run(
        words, env=OUTSIDE | environment, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("built")
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv/bin/python"
    done(python, "-m", "pip", "install", "--quiet", "build")
    done(python, "-m", "build", "--outdir", folder, ROOT)
    return folder


@pytest.fixture(scope="module")
def programs(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the wheel, and all else from the one we are in."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, with_pip=True)
    python = folder / "bin/python"
    done(python, "-m", "pip", "install", "--quiet", "--no-deps", *built.glob("*.whl"))
    [packages] = folder.glob("lib/python*/site-packages")
    (packages / "others.pth").write_text(sysconfig.get_path("purelib"))
    where = done(python, "-I", "-c", "import runner; print(runner.__file__)")
    assert Path(where.strip()).is_relative_to(packages)
    return folder / "bin"


def test_the_archives_hold_what_they_must(built: Path) -> None:
    [wheel], [sdist] = built.glob("*.whl"), built.glob("*.tar.gz")
    configs = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("conf/**/*.yaml")}
    modules = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("runner/**/*.py")}
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
    assert {f"runner/{name}" for name in configs} | modules <= inside
    assert not {name.split("/")[0] for name in inside} & {"tests", "benchmarks", "conf", "docs"}
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert configs | modules | {"tests/test_install.py", "README.md", "LICENSE"} <= inside


def test_runs_sweeps_and_configs_of_ones_own(programs: Path) -> None:
    Path("mine/model").mkdir(parents=True)
    Path("mine/model/small.yaml").write_text(
        "input_shape: [3]\nlayers:\n  only: {class_name: Dense, units: 5}\n"
    )
    python, script = programs / "python", programs / "runner"
    assert "6 output = softmax" in done(python, "-m", "runner", "hydra.run.dir=one")
    own = ("--config-dir", "mine", "model=small", "hydra.run.dir=two")
    assert "only = Dense(5, linear)" in done(script, *own)
    swept = done(script, "-m", "seed=0,1", "hydra.sweep.dir=three")
    assert swept.startswith("2 of 2 runs completed: three\n")
    for run in ("one", "two", "three/0_seed=0", "three/1_seed=1"):
        assert "none wrong" in done(script, "verify", run)
    assert done(script, "report", "one").startswith("written one/report.html")


def test_the_shell_completes_what_there_is(programs: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash")
    code = """
        eval "$(runner -sc install=bash)"
        COMP_LINE="runner format=" COMP_POINT=14 COMP_CWORD=1
        hydra_bash_completion
        echo "${COMPREPLY[@]}"
    """
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    assert done(bash, "-c", code, PATH=path).split() == [
        "format=arrow",
        "format=csv",
        "format=csv_bom",
        "format=none",
        "format=parquet",
        "format=xlsx",
    ]
