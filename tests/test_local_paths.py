"""What is written goes to a file system: a URL is refused before anything is made."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

import runner
from runner.command_line.entry import main
from runner.errors import InputError
from runner.local_paths import local_path


@pytest.mark.parametrize("path", ["here", "a/b", "/a", "C:/runs", r"C:\runs", "x:y", "a b: c/d"])
def test_a_path_stays_what_it_is(path: str) -> None:
    assert local_path(path, "path") == Path(path)


@pytest.mark.parametrize("url", ["s3://b/run", "gs://b", "abfs://c@a/x", "memory://x", "hf://a"])
def test_no_folder_is_named_after_a_url(url: str) -> None:
    scheme = url.partition("/")[0]
    for given in (url, Path(url)):
        with pytest.raises(InputError, match=f"path: cannot write to {scheme}//; give a path of"):
            local_path(given, "path")
    with pytest.raises(InputError, match="without file://"):
        local_path("file:///tmp/run", "path")


def test_everything_that_writes_refuses_a_url(capsys: pytest.CaptureFixture[str]) -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    x = np.zeros((3, 2), "float32")
    with pytest.raises(InputError, match="path: cannot write to s3://"):
        runner.save_run(model, x, "s3://bucket/run")
    with pytest.raises(InputError, match="path: cannot write to s3://"):
        runner.ActivationRecorder(x, "s3://bucket/run")
    with pytest.raises(InputError, match=r"hydra\.run\.dir: cannot write to s3://"):
        runner.run("hydra.run.dir=s3://bucket/run")
    runner.save_run(model, x, "run")
    for words in (
        ["hydra.run.dir=s3://bucket/run"],
        ["-m", "seed=0,1", "hydra.sweep.dir=s3://bucket/run"],
        ["rerun", "run", "--output", "s3://bucket/run"],
        ["report", "run", "--output", "s3://bucket/run.html"],
        ["schema", "--output", "s3://bucket/schema.json"],
    ):
        assert main(words) == 2
        assert "cannot write to s3://; give a path of this machine" in capsys.readouterr().err
    assert [path.name for path in Path().iterdir()] == ["run"]
