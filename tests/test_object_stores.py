"""Runs in object stores: written, read, refused and cleaned on a server on loopback."""

from __future__ import annotations

import gzip
import itertools
import os
import shutil
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import killed_parts
import numpy as np
import pytest
from command import in_process
from object_servers import (
    Proxy,
    azure_store,
    client_of,
    command_server,
    keys,
    settings_of,
)

import runner
from runner.errors import DamagedError, InputError, RunError
from runner.file_names import RECORD
from runner.record.listing import list_records
from runner.record.publication import Publication
from runner.runs import database
from runner.sameness.verification import damage
from runner.store_urls import StoreUrl, store_url
from runner.stores import bucket as buckets
from runner.stores import object_store
from runner.stores.object_draft import ObjectDraft
from runner.stores.object_run import CLAIM
from runner.stores.places import store_at
from runner.stores.record_index import INDEX
from runner.stores.superseded import move_aside

pytest.importorskip("obstore")
pytest.importorskip("moto")

RUN = "s3://bucket/runs/one"
TENSORS = {"hidden": np.arange(12, dtype=np.float32).reshape(3, 4)}


def uploads(s3: Any) -> list[str]:
    found = s3.list_multipart_uploads(Bucket="bucket").get("Uploads", ())
    return [each["Key"] for each in found]


def adopted(place: str, **changes: Any) -> Any:
    return runner.adopt_run(place, TENSORS, sample_ids=[1, 2, 3], **changes)


def place_of(url: str) -> StoreUrl:
    found = store_url(url, "")
    assert found is not None
    return found


def draft(place: str = RUN) -> ObjectDraft:
    return ObjectDraft(place_of(place))


def test_a_run_in_a_bucket_is_the_run_on_the_disk(s3: Any, tmp_path: Path) -> None:
    in_process(f"hydra.run.dir={RUN}", "name=far")
    assert not [path for path in tmp_path.iterdir() if path.name != ".cache"]
    in_process("hydra.run.dir=near")
    near, far = runner.open_run("near"), runner.open_run(RUN)
    assert {f"runs/one/{name}" for name in (*near.record.digests, RECORD)} == set(keys(s3))
    assert runner.diff(near, far, rtol=0, atol=0).same
    assert not list(damage(far))
    assert far.probe.equals(near.probe)
    with far.file(".hydra/hydra.yaml").open() as file:
        hydra = file.read().decode()
    assert f"dir: {RUN}" in hydra
    assert f"output_dir: {RUN}" in hydra
    for key in keys(s3):
        content = s3.get_object(Bucket="bucket", Key=key)["Body"].read()
        assert b"the-secret" not in content
        assert b"the-key" not in content
    assert "COMPLETED" in in_process("list", "--outputs", "s3://bucket/runs").stdout
    for words in (
        ["show", RUN],
        ["show", "far", "--outputs", "s3://bucket"],
        ["diff", RUN, "near"],
        ["verify", RUN],
        ["verify", "s3://bucket/runs"],
        ["explain", "hidden", "u1", RUN],
        ["similarity", RUN, "--layers", "all"],
        ["report", RUN, "--output", "page.html"],
        ["rerun", RUN, "--output", "s3://bucket/again"],
    ):
        in_process(*words)
    assert runner.diff(far, runner.open_run("s3://bucket/again")).same
    refused = in_process(f"hydra.run.dir={RUN}", code=2).stderr
    assert refused == (
        f"error: {RUN}: the output folder exists and is not empty; name another one\n"
    )


def test_a_sweep_in_a_bucket_goes_on_where_it_stopped(s3: Any, tmp_path: Path) -> None:
    words = "-m", "seed=0,1", "model.hidden_units=4,-1", "hydra.sweep.dir=s3://bucket/sweep"
    said = in_process(*words, code=1)
    assert "2 of 4 runs completed: s3://bucket/sweep" in said.stdout
    assert not [path for path in tmp_path.iterdir() if path.name != ".cache"]
    runs = runner.open_runs("s3://bucket/sweep")
    assert [run.record.status for run in runs] == ["COMPLETED", "FAILED"] * 2
    ids = {run.id for run in runs if run.record.status == "COMPLETED"}
    assert "sweep/multirun.yaml" in keys(s3)
    in_process(*words, code=1)
    again = runner.open_runs("s3://bucket/sweep")
    taken = [key for key in keys(s3) if key.startswith("sweep/2_")]
    for key in taken:  # as if another sweep were writing this run
        s3.delete_object(Bucket="bucket", Key=key)
    s3.put_object(Bucket="bucket", Key="/".join([*taken[0].split("/")[:2], CLAIM]), Body=b"{}")
    assert "a run is being written here, or was interrupted" in in_process(*words, code=1).stderr
    in_process("clean", "s3://bucket/sweep", "--yes")
    in_process(*words, code=1)
    again = runner.open_runs("s3://bucket/sweep")
    completed = {run.id for run in again if run.record.status == "COMPLETED"}
    assert len(completed) == 2
    assert len(completed & ids) == 1  # the other was written again
    assert len(again) == 4
    moved = [key for key in keys(s3) if "/.superseded/" in key and key.endswith(RECORD)]
    assert len(moved) == 6  # the failed ones, each time
    assert again.where(status="COMPLETED").sql("from hidden").shape == (6, 6)


def test_of_two_writers_one_publishes(s3: Any) -> None:
    with Publication(draft()) as first:
        first.write("a", b"1")
        with pytest.raises(InputError, match=r"a run is being written here, by process .* since"):
            Publication(draft()).__enter__()
        first.publish(b"{}")
    assert keys(s3) == ["runs/one/a", f"runs/one/{RECORD}"]
    with pytest.raises(InputError, match="the output folder exists and is not empty"):
        draft().check()


def test_writers_that_race_leave_one_whole_run(s3: Any) -> None:
    barrier, said = threading.Barrier(4), []

    def publish(number: int) -> None:
        barrier.wait()
        try:
            said.append(adopted(RUN, name=f"run-{number}").record.name)
        except (InputError, RunError):
            said.append("")

    threads = [threading.Thread(target=publish, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run = runner.open_run(RUN)
    assert sorted(said) == ["", "", "", run.record.name]
    assert not list(damage(run))
    assert CLAIM not in {key.rpartition("/")[2] for key in keys(s3)}


def test_a_place_that_was_cleaned_meanwhile_is_not_written_to(s3: Any) -> None:
    with Publication(draft()) as slow:
        slow.write("a", b"1")
        s3.delete_object(Bucket="bucket", Key=f"runs/one/{CLAIM}")
        adopted("s3://bucket/runs/one/other")
        with pytest.raises(RunError, match="its files were removed meanwhile"):
            slow.publish(b"{}")


def test_a_table_is_uploaded_while_it_is_written(s3: Any) -> None:
    piece = bytes(range(256)) * (1 << 12)
    with Publication(draft()) as publication:
        with publication.open("table") as file:
            for _ in range(20):
                file.write(piece)
            assert uploads(s3) == ["runs/one/table"]
        run = publication.publish(b"{}")
    assert not uploads(s3)
    with run.open_verified("table", publication.files["table"]) as file:
        assert file.read() == piece * 20
    publication = Publication(draft("s3://bucket/b"))
    publication.__enter__()
    file = publication.open("table")
    for _ in range(20):
        file.write(piece)
    assert uploads(s3) == ["b/table"]
    publication.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert not uploads(s3)
    assert not [key for key in keys(s3) if key.startswith("b/")]


def test_an_object_whose_name_is_no_path_is_left_out(s3: Any) -> None:
    for name in "bdf":
        adopted(f"s3://bucket/sweep/{name}")
    whole = s3.get_object(Bucket="bucket", Key="sweep/b/run.json")["Body"].read()
    for key in ("a//run.json", "c/../run.json", "c/x\x1b[2J/run.json", "d/extra//x", "e/run.log/"):
        s3.put_object(Bucket="bucket", Key=f"sweep/{key}", Body=whole)
    told = r"s3://bucket: left out objects whose names are no paths: 'sweep/a//run.json', 'sweep/c/"
    with pytest.warns(UserWarning, match=told):
        found = [run.place() for run in store_at("s3://bucket/sweep").runs()]
    assert found == [f"s3://bucket/sweep/{name}" for name in "bdf"]
    with pytest.warns(UserWarning, match=r"no paths: 'sweep/d/extra//x'$"):
        assert not [*damage(runner.open_run("s3://bucket/sweep/d"))]


@pytest.mark.usefixtures("s3")
def test_only_what_is_asked_for_is_fetched(
    s3: Any, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(0).normal(size=(20_000, 128)).astype("float32")
    runner.adopt_run(RUN, {"wide": values}, sample_ids=range(20_000))
    run = runner.open_run(RUN)
    query = 'select avg(u7) from "wide" where sample < 1000'
    size = run.tensor("wide").bytes
    proxy.fetched = 0
    frame = run.table("wide", columns=["u7", "u100"])
    assert size > 10_000_000
    assert proxy.fetched < 1_000_000  # two columns, the ids, and the footer
    np.testing.assert_array_equal(frame.to_numpy(), values[:, [7, 100]])
    np.testing.assert_array_equal(run.array("wide"), values)
    assert size < proxy.fetched < 1.2 * size
    monkeypatch.setattr(database, "_IN_MEMORY", 1 << 20)  # DuckDB opens the file in the cache
    mean = runner.open_runs("s3://bucket/runs").sql(query).iloc[0, 0]
    assert mean == pytest.approx(values[:1000, 7].mean(dtype=float))
    proxy.fetched = 0
    np.testing.assert_array_equal(runner.open_run(RUN).array("wide"), values)
    assert proxy.fetched < 50_000  # its record: the table is in the cache
    with pytest.raises(InputError, match="there is no unit 'u128'"):
        run.table("wide", columns=["u128"])
    name = f"runs/one/{run.tensor('wide').file}"
    s3.put_object(Bucket="bucket", Key=name, Body=bytes(size))
    shutil.rmtree(".cache")
    with pytest.raises(DamagedError, match="damaged"):
        runner.open_run(RUN).table("wide", columns=["u7"])
    with pytest.raises(DamagedError, match=r"damaged: expected .*, found another content"):
        runner.open_run(RUN).array("wide")


def test_a_sweep_is_listed_with_few_requests(proxy: Proxy, s3: Any) -> None:
    adopted("made")
    body = Path("made", RECORD).read_bytes()
    for number in range(30):
        for name in (RECORD, "probe.parquet", "activations/00_a.parquet"):
            s3.put_object(Bucket="bucket", Key=f"sweep/{number}/{name}", Body=body)
    proxy.requests.clear()
    assert len(list_records("s3://bucket/sweep").runs) == 30
    lists = [path for _, path in proxy.requests if "list-type" in path]
    assert len(lists) <= 3
    assert len(proxy.requests) <= 30 + len(lists)


def test_an_index_saves_requests_and_says_nothing_that_the_records_do_not(
    proxy: Proxy, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store, "_FEW", 5)
    records = []
    for name in ("one", "two", "new"):
        adopted(f"made/{name}", name=name)
        records.append(Path("made", name, RECORD).read_bytes())
    for number in range(12):
        body = records[number % 2]
        s3.put_object(Bucket="bucket", Key=f"sweep/{number}/{RECORD}", Body=body)

    def listed(place: str = "s3://bucket/sweep") -> list[str | None]:
        proxy.requests.clear()
        return sorted(str(record.name) for _, record in list_records(place).runs)

    store = store_at("s3://bucket/sweep")
    names = listed()
    assert names == ["one"] * 6 + ["two"] * 6
    store.index()
    for place in ("s3://bucket/sweep", "s3://bucket"):
        assert listed(place) == names
        assert len(proxy.requests) <= 3  # a listing, the index, and what the client asks first
    proxy.requests.clear()
    store.index()
    assert "PUT" not in {method for method, _ in proxy.requests}  # it is up to date
    s3.put_object(Bucket="bucket", Key=f"sweep/0/{RECORD}", Body=records[2])
    s3.put_object(Bucket="bucket", Key=f"sweep/more/{RECORD}", Body=records[2])
    s3.delete_object(Bucket="bucket", Key=f"sweep/1/{RECORD}")
    assert listed() == ["new"] * 2 + ["one"] * 5 + ["two"] * 5
    assert len(proxy.requests) <= 5
    store.index()
    assert listed().count("new") == 2
    assert len(proxy.requests) <= 3
    data = s3.get_object(Bucket="bucket", Key=f"sweep/{INDEX}")["Body"].read()
    bomb = gzip.compress(b'["0/run.json", "", 1000000]\n' + bytes(1_000_000))
    forged = gzip.compress(gzip.decompress(data).replace(b'"name": "one"', b'"name": "six"'))
    assert gzip.decompress(forged) != gzip.decompress(data)
    for damaged in (b"", b"{}", forged, data[:-9], data[:500] + bytes(9) + data[509:], bomb,
                    gzip.compress(b"[1, 2, 3]\nabc"), gzip.compress(b'["a"]'),
                    gzip.compress(b"[" * 8000)):  # fmt: skip
        s3.put_object(Bucket="bucket", Key=f"sweep/{INDEX}", Body=damaged)
        assert listed() == ["new"] * 2 + ["one"] * 5 + ["two"] * 5
    more = b"".join(b'["%d/more.json", "", 960000]\n' % n + os.urandom(12_000) * 80
                    for n in range(30))  # fmt: skip
    s3.put_object(Bucket="bucket", Key=f"sweep/{INDEX}", Body=gzip.compress(more, 1))
    tracemalloc.start()
    assert listed() == ["new"] * 2 + ["one"] * 5 + ["two"] * 5
    assert tracemalloc.get_traced_memory()[1] < 15_000_000  # of 28.8 MB
    tracemalloc.stop()


def test_what_cannot_be_reached_is_told_in_a_line(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(place: str) -> str:
        error = in_process(f"hydra.run.dir={place}", code=2).stderr
        assert error.count("\n") == 1
        return error

    assert "s3://none/x: runs cannot be kept here: there is no such bucket" in said("s3://none/x")
    assert "hydra.run.dir: holds credentials" in said("s3://key:secret@bucket/x")
    assert "secret" not in said("s3://key:secret@bucket/x")
    assert "is a whole bucket" in said("s3://bucket")
    proxy.verdict = lambda *_: "500"
    assert "runs cannot be kept here: the store fails" in said(RUN)
    assert "s3://bucket/runs: cannot be read: the store fails" in (
        in_process("show", "s3://bucket/runs", code=2).stderr
    )
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    buckets.bucket_of.cache_clear()
    assert "there are no credentials, in the environment or a profile" in said(RUN)


_INTERRUPTED = """
import os, sys
from runner.record.publication import Publication
from runner.stores.object_draft import ObjectDraft
from runner.store_urls import StoreUrl, store_url
draft = ObjectDraft(store_url(sys.argv[1], ""))
with Publication(draft) as publication:
    publication.write("probe.parquet", b"x" * 1000)
    file = publication.open("activations/00_hidden.parquet")
    for _ in range(int(sys.argv[2])):
        file.write(bytes(1 << 20))
    os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("size", [0, 20])
def test_a_killed_run_leaves_nothing_readable_and_is_cleaned(s3: Any, size: int) -> None:
    adopted("s3://bucket/runs/whole")
    killed = subprocess.run([sys.executable, "-c", _INTERRUPTED, RUN, str(size)], check=False)
    assert killed.returncode == -9
    assert [run.stored.place() for run in runner.open_runs("s3://bucket/runs")] == [
        "s3://bucket/runs/whole"
    ]
    assert bool(uploads(s3)) == bool(size)
    with pytest.raises(InputError, match=rf"type: runner clean {RUN}"):
        adopted(RUN)
    shown = in_process("clean", "s3://bucket").stdout
    upload = ", 1 unfinished upload" if size else ""
    assert shown.startswith(f"{RUN}: 1 file, 1.0 kB{upload}, by process ")
    assert "nothing was removed; to remove this, add --yes" in shown
    assert keys(s3)[:2] == [f"runs/one/{CLAIM}", "runs/one/probe.parquet"]
    assert in_process("clean", "s3://bucket", "--yes").stdout.endswith("removed 1\n")
    assert not uploads(s3)
    assert not [key for key in keys(s3) if key.startswith("runs/one")]
    assert not list(damage(adopted(RUN)))
    assert "nothing is left" in in_process("clean", "s3://bucket").stdout


@pytest.mark.parametrize("claim", [b"{}", b"[" * 9_000, b"[" * 10**6])
def test_a_claim_above_complete_runs_removes_none_of_them(s3: Any, claim: bytes) -> None:
    adopted("s3://bucket/runs/whole")
    kept = keys(s3)
    for key, data in ((CLAIM, claim), ("left.parquet", b"12"), ("other/" + CLAIM, b"{}")):
        s3.put_object(Bucket="bucket", Key=f"runs/{key}", Body=data)
    shown = in_process("clean", "s3://bucket", "--yes").stdout
    assert "s3://bucket/runs: 1 file, 2 B\n" in shown
    assert "s3://bucket/runs/other: 0 files, 0 B\n" in shown
    assert keys(s3) == kept
    assert not list(damage(runner.open_run("s3://bucket/runs/whole")))


def test_what_a_store_lists_late_is_asked_for_by_name(s3: Any, proxy: Proxy) -> None:
    adopted(RUN)
    killed_parts.make(place_of("s3://bucket/runs/parted"))
    whole = keys(s3)
    proxy.unlisted = lambda key: key.endswith(RECORD)
    assert len(runner.open_runs("s3://bucket")) == 2
    with pytest.raises(InputError, match="the store does not list all of it yet"):
        move_aside(place_of(RUN), "again")
    for place in ("one", "parted/.parts/0"):  # as if the store had failed to remove it
        s3.put_object(Bucket="bucket", Key=f"runs/{place}/{CLAIM}", Body=b"{}")
    cleaned = in_process("clean", "s3://bucket", "--yes").stdout
    assert cleaned.count("a claim beside a complete run") == 2
    assert keys(s3) == whole
    s3.put_object(Bucket="bucket", Key=f"runs/{CLAIM}", Body=b"{}")
    assert "runs: 0 files, 0 B\n" in in_process("clean", "s3://bucket", "--yes").stdout
    proxy.unlisted = lambda _: True
    with pytest.raises(InputError, match="the output folder exists and is not empty"):
        adopted(RUN)
    proxy.unlisted = lambda key: key.endswith(CLAIM)
    s3.put_object(Bucket="bucket", Key=f"runs/two/{CLAIM}", Body=b"{}")
    with pytest.raises(InputError, match=r"a run is being written here|exists and is not empty"):
        adopted("s3://bucket/runs/two")
    assert keys(s3) == [*whole, f"runs/two/{CLAIM}"]
    assert not [*damage(runner.open_run(RUN)), *damage(runner.open_run("s3://bucket/runs/parted"))]


def test_an_upload_that_a_complete_run_does_not_know_of_is_removed(s3: Any) -> None:
    adopted(RUN)
    for key in ("runs/one/activations/00_hidden.parquet", "other/data"):  # its answer was lost
        s3.create_multipart_upload(Bucket="bucket", Key=key)
    said = in_process("clean", "s3://bucket", "--yes").stdout
    assert said == f"{RUN}: 1 unfinished upload\nremoved 1\n"
    assert uploads(s3) == ["other/data"]


def test_a_run_that_is_cleaned_while_it_is_written_is_not_published(s3: Any) -> None:
    publication = Publication(draft())
    publication.__enter__()
    publication.write("a", b"1")
    in_process("clean", RUN, "--yes")
    with pytest.raises(RunError, match="its files were removed meanwhile"):
        publication.publish(b"{}")
    publication.__exit__(None, None, None)
    assert not keys(s3)


@pytest.mark.parametrize("fault", ["cut", "500"])
@pytest.mark.parametrize("every", [2, 3])
def test_a_store_that_fails_now_and_then_is_asked_again(
    s3: Any, proxy: Proxy, fault: str, every: int
) -> None:
    count = itertools.count()
    proxy.verdict = lambda *_: fault if next(count) % every == 0 else ""
    run = adopted(RUN, name="kept")
    assert runner.open_runs("s3://bucket/runs").table("hidden").shape == (3, 4)
    assert not list(damage(run))
    proxy.verdict = lambda *_: ""
    assert CLAIM not in {key.rpartition("/")[2] for key in keys(s3)}


@pytest.mark.parametrize("part", ["hidden", RECORD, CLAIM])
def test_a_store_that_fails_for_good_leaves_no_run(s3: Any, proxy: Proxy, part: str) -> None:
    def verdict(method: str, path: str) -> str:
        return "500" if method == "PUT" and part in path else ""

    proxy.verdict = verdict
    with pytest.raises((InputError, RunError), match="the store fails"):
        adopted(RUN)
    assert not keys(s3)
    assert not uploads(s3)


@pytest.mark.usefixtures("s3")
def test_an_answer_that_is_lost_makes_no_second_writer(proxy: Proxy) -> None:
    """The record was written, and its answer cut: the repeated request finds what it wrote."""
    cut: list[str] = []

    def answer(method: str, path: str) -> bool:
        if method == "PUT" and (CLAIM in path or RECORD in path) and path not in cut:
            cut.append(path)
            return True
        return False

    proxy.loses_answer = answer
    assert not list(damage(adopted(RUN)))
    assert len(cut) == 2


@pytest.mark.skipif(shutil.which("s3rver") is None, reason="s3rver is not installed")
def test_a_store_without_conditional_writes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "s3rver", "-d", str(tmp_path / "kept"), "--configure-bucket", "bucket", "-p"
    with command_server(*words) as port:
        for name, value in settings_of(port, tmp_path / ".cache").items():
            monkeypatch.setenv(name, "S3RVER" if "KEY" in name else value)
        buckets.bucket_of.cache_clear()
        said = in_process(f"hydra.run.dir={RUN}", code=2).stderr
        assert said.startswith(f"error: {RUN}: its store writes an object that is there already")
        assert said.count("\n") == 1
        assert not keys(client_of(port))
    buckets.bucket_of.cache_clear()


def keeps_runs(*roots: str) -> None:
    """Check that runs are written, read, refused, moved, cleaned and made in parts in a store."""
    buckets.bucket_of.cache_clear()
    values = np.random.default_rng(0).normal(size=(60_000, 40))  # in several parts
    for root in roots:
        run = runner.adopt_run(f"{root}/runs/one", {"wide": values}, sample_ids=range(60_000))
        np.testing.assert_array_equal(run.array("wide"), values)
        column = runner.open_run(f"{root}/runs/one").table("wide", columns=["u7"])
        np.testing.assert_array_equal(column.to_numpy()[:, 0], values[:, 7])
        with pytest.raises(InputError, match="exists and is not empty"):
            adopted(f"{root}/runs/one")
        assert len(runner.open_runs(root)) == 1
        with (
            Publication(draft(f"{root}/three")),
            pytest.raises(InputError, match="a run is being written here"),
        ):
            adopted(f"{root}/three")
        Publication(draft(f"{root}/killed")).__enter__()
        assert in_process("clean", root, "--yes").stdout.endswith("removed 1\n")
        adopted(f"{root}/killed")
        move_aside(place_of(f"{root}/killed"), "failed")
        assert not list(damage(runner.open_run(f"{root}/.superseded/killed-failed")))
        killed_parts.make(place_of(f"{root}/parted"))
        assert len(runner.open_run(f"{root}/parted").array("hidden")) == killed_parts.ROWS
    with pytest.raises(InputError, match="there is no such bucket"):
        adopted(f"{root.partition(':')[0]}://none/a")
    buckets.bucket_of.cache_clear()


@pytest.mark.skipif(shutil.which("azurite-blob") is None, reason="Azurite is not installed")
def test_runs_are_kept_in_a_store_of_azure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNNER_CACHE", str(tmp_path / ".cache"))
    with azure_store() as settings:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        keeps_runs("az://bucket/one", "abfs://bucket/two")


@pytest.mark.usefixtures("s3")
def test_runs_are_kept_in_a_store_of_google(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{proxy.port}")
    keeps_runs("gs://bucket/one")
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    for name in ("GCE_METADATA_HOST", "GCE_METADATA_IP"):  # where machines of Google find some
        monkeypatch.setenv(name, "127.0.0.1:9")
    with pytest.raises(InputError, match="no credentials were found, or they are not accepted"):
        adopted("gs://bucket/two")
    buckets.bucket_of.cache_clear()


@pytest.mark.usefixtures("s3")
def test_a_run_in_memory_is_the_run_on_the_disk() -> None:
    far, near = adopted("memory://bucket/one"), adopted("near")
    assert runner.diff(far, near).same
    assert runner.open_runs("memory://bucket").table("hidden").shape == (3, 4)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "ray"])
def test_the_workers_of_a_launcher_write_to_the_bucket(
    s3: Any, tmp_path: Path, launcher: str
) -> None:
    words = [
        "-m", "seed=0,1", "model.hidden_units=3,4", "hydra.sweep.dir=s3://bucket/sweep",
        f"hydra/launcher={launcher}",
    ]  # fmt: skip
    said = in_process(*words).stdout
    assert "4 of 4 runs completed: s3://bucket/sweep" in said
    assert not [path for path in tmp_path.iterdir() if path.name != ".cache"]
    runs = runner.open_runs("s3://bucket/sweep")
    assert [len(list(damage(run))) for run in runs] == [0] * 4
    assert not [key for key in keys(s3) if key.endswith(CLAIM)]
