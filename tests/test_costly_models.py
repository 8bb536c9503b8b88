"""Models that cost more than they say, or name what is no part of them, are refused."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers

import runner
from runner.config.experiment_config import ExperimentConfig
from runner.config.model_config import SavedModel
from runner.config.parsing import parse
from runner.errors import InputError
from runner.keras_models import calls
from runner.model.backend import framework
from runner.model.building import build_model
from runner.model.model_files import load_saved
from runner.model.named_objects import check_objects


def named(module: str, name: str, **config: Any) -> dict[str, Any]:
    return {"module": module, "class_name": name, "config": config, "registered_name": None}


def function(module: str, name: str) -> dict[str, Any]:
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


@pytest.mark.parametrize(
    "name",
    [
        "keras.utils.plot_model",
        "keras.utils.get_file",
        "keras.config.set_floatx",
        "keras.callbacks.BackupAndRestore",
        "keras.export.ExportArchive",
        "keras.saving.load_model",
        "keras.backend.clear_session",
        "keras.version",
        "keras.utils.disable_interactive_logging",
    ],
)
def test_what_is_no_part_of_a_model_is_refused(name: str) -> None:
    module, _, last = name.rpartition(".")
    for held in (
        function(module, last),
        named(module, last),
        function("keras", name.removeprefix("keras.")),
    ):
        config = named(
            "keras", "Sequential", layers=[named("keras.layers", "Dense", activation=held)]
        )
        with pytest.raises(InputError) as caught:
            check_objects(json.dumps(config), Path("m.keras"), "model.path")
        assert str(caught.value) == (
            f"model.path: m.keras cannot be loaded: it names {name}, which is not part of a model"
        )


@pytest.mark.parametrize("key", ["vocabulary", "merges", "filepath"])
def test_a_model_that_names_a_file_is_refused(key: str) -> None:
    layer = named("keras.layers", "StringLookup", **{key: "/etc/passwd"})
    wrapped = named("keras.layers", "TimeDistributed", layer=layer)
    model = named("keras", "Sequential", layers=[wrapped])
    for config in (layer, model, {"config": [{"x": layer}]}):
        with pytest.raises(InputError, match=rf"its {key} is a file outside of it; build a model"):
            check_objects(json.dumps(config), Path("m.keras"), "model.path")


@pytest.mark.parametrize("dtype", ["V1000000000", "U200000000", "O", "f4,f4", [["a", "f4"]], None])
def test_an_array_of_no_number_is_refused(dtype: Any) -> None:
    held = {"class_name": "__numpy__", "config": {"value": [2], "dtype": dtype}}
    config = named("keras.layers", "Normalization", mean=held)
    with pytest.raises(
        InputError, match=r"^model\.path: m\.keras cannot be loaded: it holds an arr"
    ):
        check_objects(json.dumps(config), Path("m.keras"), "model.path")


def test_what_models_are_made_of_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(keras.saving.get_custom_objects(), "Mine", keras.layers.Layer)
    lookup = named("keras.layers", "StringLookup", vocabulary=["/etc/passwd", "b"])
    parts = [
        lookup,
        named("keras.layers", "TextVectorization", vocabulary=None),
        named("keras", "Functional"),
        named("keras.src.models.functional", "Functional"),
        named("keras.engine.functional", "Functional"),
        named("keras.utils", "FeatureSpace"),
        named("keras", "DTypePolicy"),
        named("package", "Mine", filepath=None),
        function("builtins", "relu"),
        function("keras.activations", "relu"),
        function("keras.ops", "sum"),
        {"class_name": "__numpy__", "config": {"value": [2], "dtype": "float32"}},
        {"class_name": "__tensor__", "config": {"value": [2], "dtype": "bfloat16"}},
    ]
    check_objects(json.dumps(parts), Path("m.keras"), "model.path")
    check_objects("no JSON", Path("m.keras"), "model.path")


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return keras.Sequential([layers.Input((3,)), layers.Dense(2)])


def naming_a_file(text: str) -> str:
    config = json.loads(text)
    config["config"]["layers"][-1]["config"]["vocabulary"] = "/etc/passwd"
    return json.dumps(config)


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_a_file_of_either_format_is_checked(suffix: str, model: keras.Model) -> None:
    path = Path(f"m.{suffix}")
    model.save(path)
    load_saved(SavedModel(path=str(path)))
    if suffix == "h5":
        with h5py.File(path, "a") as file:
            file.attrs["model_config"] = naming_a_file(file.attrs["model_config"])
    else:
        with zipfile.ZipFile(path) as before, zipfile.ZipFile("n.keras", "w") as after:
            for name in before.namelist():
                data = before.read(name)
                after.writestr(
                    name, naming_a_file(data.decode()) if name == "config.json" else data
                )
        path = Path("n.keras")
    with pytest.raises(InputError, match=r"its vocabulary is a file outside of it"):
        load_saved(SavedModel(path=str(path)))


def test_weights_in_another_format_are_not_read(model: keras.Model) -> None:
    model.save("m.keras")
    with zipfile.ZipFile("m.keras", "a") as archive:
        archive.writestr("model.weights.npz", b"")
    with pytest.raises(InputError, match=r"^model\.path: m\.keras: weights as \.npz are not read"):
        load_saved(SavedModel(path="m.keras"))


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (
            {"class_name": "Dense", "units": 2**31 - 1},
            "Dense cannot take 'input' (None, 4, 4, 3): ",
        ),
        ({"class_name": "Conv2D", "filters": 2**31 - 1, "kernel_size": [4, 4]}, "Conv2D cannot "),
        ({"class_name": "Conv2D", "filters": 1, "kernel_size": [4, 4], "groups": 1}, ""),
    ],
)
def test_a_declared_model_of_more_weights_than_memory_is_refused(
    layer: dict[str, Any], said: str
) -> None:
    config = parse({
        "seed": 0,
        "model": {"input_shape": [4, 4, 3], "layers": {"big": layer}},
        "probe": {"source": "random", "rows": 2},
    })  # fmt: skip
    if not said:
        build_model(config)
        return
    with pytest.raises(InputError) as caught:
        build_model(config)
    line = str(caught.value)
    assert line.startswith(f"model.layers.big: {said}")
    assert "of memory, its layers declare weights of " in line


LARGE = 2**31 - 1


def declared(shape: list[int], **layer: Any) -> ExperimentConfig:
    kind = "int32" if layer["class_name"] in ("CategoryEncoding", "Hashing") else "float32"
    return parse({
        "seed": 0,
        "model": {"inputs": {"x": {"shape": shape, "dtype": kind}}, "layers": {"big": layer}},
        "probe": {"source": "random", "rows": 2},
    })  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "layer"),
    [
        ([8, 9], {"class_name": "ZeroPadding1D", "padding": LARGE}),
        ([900], {"class_name": "RepeatVector", "n": LARGE}),
        ([8, 2], {"class_name": "UpSampling1D", "size": LARGE}),
        ([4, 4, 2], {"class_name": "Resizing", "height": LARGE, "width": LARGE}),
        ([999], {"class_name": "CategoryEncoding", "num_tokens": LARGE, "output_mode": "one_hot"}),
        ([4, 4, 2], {"class_name": "UpSampling2D", "size": 10**6}),
    ],
)
def test_a_declared_layer_that_makes_more_than_memory_is_refused(
    shape: list[int], layer: dict[str, Any]
) -> None:
    with pytest.raises(InputError) as caught:
        build_model(declared(shape, **layer))
    line = str(caught.value)
    assert line.startswith(f"model.layers.big: {layer['class_name']} cannot take 'x' (None, ")
    assert "'big' makes a tensor " in line


@pytest.mark.parametrize(
    ("key", "value"),
    [("n", 2**31), ("n", 2**70), ("padding", [2**31, 0]), ("num_oov_indices", 10**6 + 1)],
)
def test_a_size_that_tensorflow_cannot_count_is_refused(key: str, value: Any) -> None:
    kinds = {"n": "RepeatVector", "padding": "ZeroPadding1D", "num_oov_indices": "IntegerLookup"}
    layer = {"class_name": kinds[key], key: value}
    with pytest.raises(InputError, match=rf"^model\.layers\.big\.{key}.*: an integer here is at m"):
        declared([8, 2], **layer)
    held = json.dumps(named("keras.layers", kinds[key], **{key: value}))
    with pytest.raises(
        InputError, match=rf"^model\.path: m\.keras cannot be loaded: {key}.*: an i"
    ):
        check_objects(held, Path("m.keras"), "model.path")


def test_orthogonal_weights_that_take_minutes_are_refused_before_they_are_drawn() -> None:
    layer = {"class_name": "LSTM", "units": 6000}
    with pytest.raises(InputError, match=r"6,000 x 24,000 take minutes to draw; choose another"):
        build_model(declared([2, 1], **layer))


def test_weights_of_a_file_are_not_drawn_first(monkeypatch: pytest.MonkeyPatch) -> None:
    model = keras.Sequential([layers.Input((2, 1)), layers.LSTM(3)])
    model.save("m.keras")

    def draw(*_: Any, **__: Any) -> None:
        raise AssertionError("drawn")

    monkeypatch.setattr(keras.initializers.Orthogonal, "__call__", draw)
    loaded = load_saved(SavedModel(path="m.keras"))
    for ours, theirs in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    "layer",
    [
        lambda: layers.ZeroPadding2D(10**9),
        lambda: layers.UpSampling2D(10**6),
        lambda: layers.Resizing(10**8, 10**8),
        lambda: layers.Conv2DTranspose(1, 1, strides=10**8),
    ],
)
def test_a_layer_that_makes_more_than_memory_is_refused_before_it_runs(layer: Any) -> None:
    given = keras.Input((4, 4, 2))
    made = layer()
    model = keras.Model(given, layers.GlobalMaxPooling2D(name="last")(made(given)))
    with pytest.raises(InputError) as caught:
        runner.capture_activations(model, np.ones((2, 4, 4, 2), np.float32), include="last")
    line = str(caught.value)
    assert line.startswith(f"model: '{made.name}' makes a tensor of ")
    assert "of free memory; make the layer smaller, or show fewer samples at once" in line


def test_models_nested_in_models_are_refused_before_their_calls_multiply() -> None:
    called: list[Any] = []

    class Counted(layers.Layer):
        def call(self, x: Any) -> Any:
            called.append(x)
            return x

    given = keras.Input((2,))
    model = keras.Model(given, Counted()(given))
    for _ in range(16):
        given = keras.Input((2,))
        model = keras.Model(given, model(model(given)))
    made = len(called)
    said = "^model: calls its layers more than 50,000 times for one batch; show it with fewer steps"
    with pytest.raises(InputError, match=said):
        runner.capture_activations(model, np.ones((2, 2), np.float32))
    assert len(called) == made


def test_a_model_without_a_graph_is_refused_after_so_many_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calls, "_MOST_CALLS", 50)

    class Loop(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.step = layers.Activation("relu")

        def call(self, x: Any) -> Any:
            for _ in range(60):
                x = self.step(x)
            return x

    with pytest.raises(InputError, match="calls its layers more than 50 times for one batch"):
        runner.capture_activations(Loop(), np.ones((2, 2), np.float32))


def test_the_axes_of_a_long_loop_are_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Loop(layers.Layer):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.step = layers.Activation("relu")

        def call(self, passed: Any) -> Any:
            for _ in range(60):
                passed = self.step(passed)
            return passed

    asked = []
    engine = framework()
    sources = engine.elementwise_sources
    monkeypatch.setattr(
        engine, "elementwise_sources", lambda tensor: asked.append(tensor) or sources(tensor)
    )
    runner.capture_activations(keras.Sequential([keras.Input((3,)), Loop()]), np.ones((2, 3)))
    assert 60 < len(asked) < 60 * 10
