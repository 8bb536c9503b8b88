"""What the README says to type is typed, and what it says is printed is printed."""

from __future__ import annotations

import doctest
import io
import os
import re
import shlex
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command import in_process
from object_servers import client_of, moto_server, settings_of
from packages import installed

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
KOREAN = (ROOT / "README.ko.md").read_text(encoding="utf-8")
PAGES = [
    pytest.param("README.md", marks=pytest.mark.slow),
    *(
        pytest.param(f"docs/{path.name}", marks=pytest.mark.slow)
        for path in sorted((ROOT / "docs").glob("*.md"))
        if path.suffixes == [".md"]  # a translation is held to the same examples
    ),
]
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)

# What differs from one run to the next: ids, dates, times, sizes of files.
CHANGING = (
    (r"outputs/\d{4}-\d\d-\d\d/\d\d-\d\d-\d\d-[0-9a-f]{8}", "outputs/DATE/TIME-ID"),
    (r"(?<![.\d])\b[0-9a-f]{8}\b", "ID"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?", "DATE"),
    (r"[\d,]+ bytes of SHA-256 [0-9a-f]{12}", "DIGEST"),
    (r"\d+(\.\d+)? kB", "SIZE"),
    # The processor decides in which values rounding differs, with which kernels, and how many
    # threads there are.
    (r"(?m)^\S+ +[\d.e-]+ .*\byes\n", ""),
    (r"(?m)^ +backend\.onednn: .*\n", ""),
    (r"worst at sample .*", "WORST"),
    (r"_op_threads: .*", "THREADS"),
    (r"(?m)^(equals|differs from) the stored value .*(?<!explains\))$", "VERDICT"),
)

# Layers that differ by rounding on one processor are equal bit for bit on another.
WITHIN = r"(\d+) of (\d+) layers bitwise equal(?:, (\d+) within the tolerance)?"

# The last digits of a result depend on the processor, and so does the width of its column.
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:e[-+]\d+)?")


def blocks(text: str, language: str | None = None) -> list[str]:
    found = BLOCK.findall(text)
    return [body for name, body in found if language is None or name == language]


def settled(text: str) -> str:
    for pattern, word in CHANGING:
        text = re.sub(pattern, word, text)
    text = re.sub(WITHIN, lambda found: f"{int(found[1]) + int(found[3] or 0)} of {found[2]}", text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def same(shown: str, expected: str) -> bool:
    """Return whether texts are the same except for the last digits of numbers."""
    words, others = (NUMBER.sub("#", text).split() for text in (shown, expected))
    return words == others and all(map(near, NUMBER.findall(shown), NUMBER.findall(expected)))


def near(shown: str, expected: str) -> bool:
    """Return whether numbers are the same except for the last digits.

    Those with an exponent are errors of rounding, of which only the size is the same everywhere.
    """
    number, wanted = (float(text.replace(",", "")) for text in (shown, expected))
    rel = 0.5 if "e-" in shown and "e-" in expected else 1e-4
    return number == pytest.approx(wanted, rel=rel, abs=2e-7)


# What a page needs beside the extras of the tests.
NEEDS = {
    "docs/torch.md": ["torch"],
    "docs/elsewhere.md": ["torch", "ai_edge_litert"],
    "docs/converted.md": ["ai_edge_litert", "onnxruntime"],
    "docs/stores.md": ["moto", "obstore"],
}


class Near(doctest.OutputChecker):
    """Accepts what `same` does."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return super().check_output(want, got, optionflags) or same(got, want)


# The warnings that Python ignores by default.
IGNORED = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)

# Commands whose work is done by another process, or with another backend.
OTHER_PROCESSES = re.compile("backend=|hydra/launcher=")


def in_a_process(words: list[str]) -> str:
    """Return what a command prints that is run as its reader runs it."""
    command = [sys.executable, "-m", "runner", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def here(words: list[str]) -> str:
    """Return what a command prints that is run in this process, where TensorFlow is loaded."""
    if "keras" in sys.modules:
        sys.modules[
            "keras"
        ].backend.clear_session()  # layers are counted from 1, as in a new process
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        for ignored in IGNORED:
            warnings.simplefilter("ignore", ignored)
        done = in_process(*words, code=None)
    return done.stdout + done.stderr


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Serve an empty bucket, which the page names."""
    with moto_server() as port:
        for name, value in settings_of(port, tmp_path / "cache").items():
            monkeypatch.setenv(name, value)
        client_of(port).create_bucket(Bucket="bucket")
        yield


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_print_what_they_say(
    tmp_path: Path,
    page: str,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    for package in NEEDS.get(page, ()):
        pytest.importorskip(package, reason=f"{package} is not installed")
    if "keras" in sys.modules:  # the names of layers count from here, as in a new session
        sys.modules["keras"].backend.clear_session()
    folder = (
        tmp_path  # the working directory, one for all examples of a page, as its reader has one
    )
    if page == "docs/stores.md":
        request.getfixturevalue("bucket")
    monkeypatch.syspath_prepend(folder / "own")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(folder / "own")]))
    monkeypatch.setenv("COLUMNS", "80")
    text = (ROOT / page).read_text(encoding="utf-8")
    session: dict[str, Any] = {}  # of Python, which goes on from block to block
    told = io.StringIO()
    for name, body in BLOCK.findall(text):
        if body.startswith(("# my_conf/", "# own/")):
            file = folder / body.splitlines()[0].removeprefix("# ")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(body, encoding="utf-8")
            if name == "toml":
                installed(file)
            continue
        if name == "csv":
            (folder / "flowers.csv").write_text(body, encoding="utf-8")
        if name == "python":
            example = doctest.DocTestParser().get_doctest(body, session, page, page, 0)
            checks = doctest.DocTestRunner(
                Near(), verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE
            )
            checks.run(example, out=told.write, clear_globs=False)
            assert not told.getvalue(), told.getvalue()
            session |= example.globs
        if name != "console":
            continue
        for command, expected in re.findall(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", body, re.MULTILINE):
            words = shlex.split(command.replace("\\\n", ""))
            assert words[:3] == ["python", "-m", "runner"], command
            run = in_a_process if OTHER_PROCESSES.search(command) else here
            shown, wanted = settled(run(words[3:])), settled(expected)
            assert same(shown, wanted) or shown == wanted, (
                command
            )  # the latter shows the difference


def test_only_the_last_digits_of_numbers_may_differ() -> None:
    assert same("u0   0.5  3e-09", "u0  0.49999997  -1e-10")
    assert same("14,002,775 of 3", "14,002,776 of 3")
    for other in ("u0  0.5001", "u0 -0.5", "u1  0.5", "u0  0.5 x", "u0  0.5  0.5"):
        assert not same("u0  0.5", other)


def test_the_korean_page_shows_the_same_examples() -> None:
    assert blocks(KOREAN) == blocks(README)


def test_both_pages_open_with_the_two_commands() -> None:
    for page in (README, KOREAN):
        commands = blocks(page, "bash")[:2]
        assert commands[0].strip() == (
            "python3 -m venv .venv && .venv/bin/pip install -e . && .venv/bin/python -m runner"
        )
        assert commands[1].strip() == (
            '.venv/bin/pip install -e ".[test]" && .venv/bin/python -m pytest'
        )
