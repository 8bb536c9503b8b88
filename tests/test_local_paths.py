"""A URL of no store is refused before anything is made."""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import runner
from runner.command_line.entry import main
from runner.errors import InputError
from runner.local_paths import local_path
from runner.stores.bucket import bucket_of


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
    with pytest.raises(InputError, match="path: cannot write to hf://"):
        runner.save_run(model, x, "hf://bucket/run")
    with pytest.raises(InputError, match="path: cannot write to hf://"):
        runner.ActivationRecorder(x, "hf://bucket/run")
    with pytest.raises(InputError, match=r"hydra\.run\.dir: cannot write to hf://"):
        runner.run("hydra.run.dir=hf://bucket/run")
    runner.save_run(model, x, "run")
    for words in (
        ["hydra.run.dir=hf://bucket/run"],
        ["-m", "seed=0,1", "hydra.sweep.dir=hf://bucket/run"],
        ["rerun", "run", "--output", "hf://bucket/run"],
        ["report", "run", "--output", "hf://bucket/run.html"],
        ["schema", "--output", "hf://bucket/schema.json"],
    ):
        assert main(words) == 2
        told = "cannot write to hf://; give a path of this machine"
        if words[0] not in ("report", "schema"):  # a page and a schema are files of this machine
            told += ", or a URL of s3, gs, az, abfs or abfss"
        assert capsys.readouterr().err.endswith(f"{told}\n")
    assert [path.name for path in Path().iterdir()] == ["run"]


@pytest.mark.parametrize("url", ["s3://bucket/run", "gs://bucket/run", "memory://bucket/run"])
def test_a_store_without_its_package_is_refused_with_what_to_type(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)  # as where it is not installed
    bucket_of.cache_clear()
    said = f"{url.partition('/')[0]}//: needs obstore; type: pip install"
    with pytest.raises(InputError, match=said):
        runner.adopt_run(url, {"a": np.zeros(2)}, sample_ids=[1, 2])
    for words in (
        [f"hydra.run.dir={url}"],
        ["show", url],
        ["list", "--outputs", url],
        ["probe=npy", f"probe.path={url}"],
        ["probe=images", f"probe.path={url}"],
    ):
        assert main(words) == 2
        assert capsys.readouterr().err == f'error: {said} "activation-runner[stores]"\n'
    assert not [*Path().iterdir()]
