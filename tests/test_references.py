"""The type of a key says that it names a file, a folder or a module, and all else follows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field, TypeAdapter

from runner.config.compose import compose_one
from runner.config.composition import Composition
from runner.config.experiment_config import ExperimentConfig
from runner.config.model_config import NamedObject
from runner.config.references import (
    UNTYPED,
    InputFile,
    ModuleName,
    ProbeFolder,
    check_references,
    references_in,
)
from runner.config.strict import Strict
from runner.errors import InputError
from runner.experiment.fingerprint import fingerprint_of, named_packages
from runner.record.environment import read_environment


class Glossary(Strict):
    """A part of a configuration with keys that Runner has never heard of."""

    dictionary: InputFile
    drawings: ProbeFolder | None = None
    more: list[InputFile] = Field(default=[])
    by_language: dict[str, InputFile] = Field(default={})
    title: str = "dictionary.txt"
    options: Annotated[dict[str, Any], UNTYPED] = Field(default={})


class Extended(ExperimentConfig):
    """An experiment with such a part."""

    glossary: Glossary


def extended(**glossary: Any) -> Extended:
    own = {
        "model": {"input_shape": [3], "layers": {"a": {"class_name": "Dense", "units": 1}}},
        "probe": {"source": "tutorial"},
        "glossary": glossary,
    }
    return Extended.model_validate(own, context=own)


def composed(*overrides: str) -> Composition:
    return compose_one(list(overrides), "0a1b2c3d")[0]


def print_of(experiment: ExperimentConfig) -> str:
    return fingerprint_of({}, experiment)


def test_a_new_key_is_a_file_by_its_type_alone() -> None:
    experiment = extended(
        dictionary="d.txt", drawings="d", more=["e.txt"], by_language={"ko": "ko.txt"}
    )
    found = {place: value for place, value in references_in(experiment) if value.noun != "text"}
    assert found == {
        "glossary.dictionary": "d.txt",
        "glossary.drawings": "d",
        "glossary.more.0": "e.txt",
        "glossary.by_language.ko": "ko.txt",
    }
    assert isinstance(found["glossary.drawings"], ProbeFolder)
    schema = Extended.model_json_schema()["$defs"]["Glossary"]["properties"]
    assert schema["dictionary"]["format"] == "file"
    assert "format" not in schema["title"]


def test_what_the_files_of_a_new_key_hold_is_part_of_the_fingerprint() -> None:
    Path("d").mkdir()
    for name in ("d.txt", "ko.txt", "dictionary.txt", "d/one.txt", "free.txt"):
        Path(name).write_text("before")
    experiment = extended(
        dictionary="d.txt", drawings="d", by_language={"ko": "ko.txt"}, options={"a": ["free.txt"]}
    )
    before = print_of(experiment)
    assert print_of(experiment) == before
    for name in ("d.txt", "ko.txt", "d/one.txt", "free.txt"):
        Path(name).write_text("after")
        assert print_of(experiment) != before, name
        Path(name).write_text("before")
    Path("dictionary.txt").write_text("after")  # the title's, which is no file by its type
    assert print_of(experiment) == before


@pytest.mark.parametrize(
    ("words", "packages"),
    [
        (["probe=random"], set()),
        (["probe=digits"], {"scikit-learn"}),
        (["probe=images", "probe.path=photos"], {"pillow"}),
        (["probe=random", "train=fit", "train/data=iris"], {"scikit-learn"}),
    ],
)
def test_a_run_names_the_packages_that_its_samples_come_from(
    words: list[str], packages: set[str]
) -> None:
    Path("photos").mkdir()
    experiment = composed("model=tutorial", *words).experiment
    assert named_packages(experiment).keys() == packages
    assert not packages & read_environment(Path.cwd()).packages.keys()


def test_of_a_folder_only_the_files_that_a_probe_reads_are_part_of_the_fingerprint() -> None:
    Path("photos").mkdir()
    contents = {
        "a.png": b"broken",
        "b": b"\x89PNG\r\n\x1a\n",
        "notes.txt": b"before",
        ".c.png": b"",
    }
    for name, data in contents.items():
        (Path("photos") / name).write_bytes(data)
    experiment = composed("probe=images", "probe.path=photos", "model=tutorial").experiment
    before = print_of(experiment)
    for name, counts in {"a.png": True, "b": True, "notes.txt": False, ".c.png": False}.items():
        (Path("photos") / name).write_bytes(contents[name] + b"after")
        assert (print_of(experiment) != before) == counts, name
        (Path("photos") / name).write_bytes(contents[name])
    (Path("photos") / "notes.txt").rename("photos/other.txt")
    assert print_of(experiment) != before


@pytest.mark.parametrize("folder", ["/", "/proc", "/sys/kernel", "../../../../../.."])
def test_a_folder_with_files_of_the_system_is_refused_before_it_is_read(folder: str) -> None:
    with pytest.raises(InputError, match="holds files of the system, such as those of /proc; name"):
        check_references(extended(dictionary=__file__, drawings=folder))


def test_all_files_that_are_missing_are_said_together(tmp_path: Path) -> None:
    Path("d").write_text("no folder")
    with pytest.raises(InputError) as caught:
        check_references(extended(dictionary="none.txt", drawings="d", more=["."]))
    assert str(caught.value).splitlines() == [
        f"glossary.dictionary: no file 'none.txt' (looked in {tmp_path})",
        f"glossary.drawings: no folder 'd' (looked in {tmp_path})",
        "glossary.more.0: expected a regular file, '.' is a folder",
    ]


def test_every_key_that_names_a_file_has_its_type() -> None:
    experiment = composed(
        "experiment=iris_mlp", "train=fit", "+model.weights=w.h5", "probe=npy", "probe.path=x.npy",
        "probe.ids_path=i.npy", "probe.labels_path=l.npy", "probe.targets_path=t.npy",
        "train/data=csv", "train.data.path=d.csv", "custom_modules=[json]",
        "+train.callbacks.log={class_name: CSVLogger, filename: log.csv}",
    ).experiment  # fmt: skip
    found = {
        place: value.noun for place, value in references_in(experiment) if value.noun != "text"
    }
    assert found == {
        "custom_modules.0": "module",
        "model.weights": "file",
        "probe.path": "file or URL",
        "probe.ids_path": "file or URL",
        "probe.labels_path": "file or URL",
        "probe.targets_path": "file or URL",
        "train.data.path": "file or URL",
        "train.callbacks.log.filename": "path",
    }
    assert ModuleName("json").content == Path(json.__file__)
    assert ModuleName("no.such").content is None


def test_a_file_that_a_layer_reads_is_part_of_the_fingerprint() -> None:
    lookup = {"class_name": "StringLookup", "vocabulary": "words.txt"}
    own = {
        "model": {"inputs": {"x": {"shape": [1], "dtype": "string"}}, "layers": {"a": lookup}},
        "probe": {"source": "inline", "inputs": [["a"]]},
    }
    experiment = ExperimentConfig.model_validate(own, context=own)
    without = print_of(experiment)
    Path("words.txt").write_text("a\nb\n")
    before = print_of(experiment)
    Path("words.txt").write_text("a\nc\n")
    assert len({without, before, print_of(experiment)}) == 3


def test_an_argument_is_handed_on_as_it_was_given() -> None:
    named = TypeAdapter(NamedObject).validate_python({"class_name": "A", "path": "x" * 5000})
    assert type(named.arguments["path"]) is str
    assert [value.content for _, value in references_in(named) if value.startswith("x")] == [None]
