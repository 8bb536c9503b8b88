"""What holds for every test: where it runs, and how long an example may take."""

from __future__ import annotations

import gc
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from object_servers import Proxy, client_of, moto_server, settings_of

from runner.stores import bucket as buckets

# A first example may import TensorFlow or trace a model; pytest's own timeout ends a hang.
hypothesis.settings.register_profile("runner", deadline=None)
hypothesis.settings.load_profile("runner")

# Started in the background, a shell has its programs ignore Ctrl-C, and theirs.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _empty_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Start in an empty folder, so that no test reads or leaves runs in the checkout.

    The modules that a test imports from its folder are forgotten with it.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    known = set(sys.modules)
    yield
    for name in sys.modules.keys() - known:
        module = sys.modules[name]  # None: it cannot be imported
        if module is not None and str(vars(module).get("__file__")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call() -> None:
    """Draw the same first weights for models without a seed: pytest-randomly seeds before this."""
    random.seed(0)
    np.random.seed(0)


def pytest_runtest_teardown() -> None:
    """Exempt what importing TensorFlow made from garbage collection, which each model starts."""
    if "tensorflow" in sys.modules and not gc.get_freeze_count():
        gc.collect()
        gc.freeze()


@pytest.fixture(scope="session")
def port() -> Iterator[int]:
    """The port of a server of objects, moto's."""
    pytest.importorskip("obstore")
    pytest.importorskip("moto")
    with moto_server() as port:
        yield port


def end_workers() -> None:
    """End the workers that joblib keeps for the next sweep, which have this test's environment."""
    if "joblib" in sys.modules:
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor().shutdown(wait=True)


@pytest.fixture
def proxy(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy before the server, which the environment names."""
    proxy = Proxy(port)
    for name, value in settings_of(proxy.port, tmp_path / ".cache").items():
        monkeypatch.setenv(name, value)
    buckets.bucket_of.cache_clear()
    yield proxy
    buckets.bucket_of.cache_clear()
    end_workers()
    proxy.close()


@pytest.fixture
def s3(port: int, proxy: Proxy) -> Iterator[Any]:
    """Amazon's own client of the server, which has an empty bucket."""
    assert proxy.port != port
    client = client_of(port)
    client.create_bucket(Bucket="bucket")
    yield client
    for page in client.get_paginator("list_objects_v2").paginate(Bucket="bucket"):
        for each in page.get("Contents", ()):
            client.delete_object(Bucket="bucket", Key=each["Key"])
    for each in client.list_multipart_uploads(Bucket="bucket").get("Uploads", ()):
        client.abort_multipart_upload(Bucket="bucket", Key=each["Key"], UploadId=each["UploadId"])
    client.delete_bucket(Bucket="bucket")
