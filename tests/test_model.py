"""Declared models become the Keras models that a person would write by hand."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from runner.config.parsing import parse
from runner.errors import InputError
from runner.model.building import build_model, input_specs


def built(model: dict[str, Any], **rest: Any) -> keras.Model:
    config = {
        "seed": 0, "name": None, "custom_modules": [], "dry_run": False, "model": model,
        "probe": {"source": "tutorial"}, "loss": None, "optimizer": None, "capture": {},
        "format": "parquet", "train": None, **rest,
    }  # fmt: skip
    return build_model(parse(config))


def chain(**layers: Any) -> dict[str, Any]:
    return {"input_shape": [8, 8, 1], "layers": layers}


def test_a_seed_draws_what_keras_draws_by_hand() -> None:
    model = built(
        {"input_shape": [3], "layers": {"a": {"class_name": "Dense", "units": 4}}}, seed=5
    )
    keras.backend.clear_session()
    keras.utils.set_random_seed(5)
    by_hand = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(4)])
    np.testing.assert_array_equal(model.get_weights()[0], by_hand.get_weights()[0])


def test_a_graph_reuses_layers_and_names_parts() -> None:
    model = built(
        {
            "inputs": {"a": {"shape": [5, 3]}, "b": {"shape": [5, 3]}},
            "layers": {
                "lstm": {"class_name": "LSTM", "units": 4, "return_state": True, "inputs": "a"},
                "again": {"reuse": "lstm", "inputs": "b"},
                "join": {"class_name": "Concatenate", "inputs": ["lstm:1", "again:0"]},
                "wrapped": {
                    "class_name": "TimeDistributed",
                    "layer": {
                        "class_name": "Dense",
                        "units": 2,
                        "kernel_initializer": {"class_name": "Constant", "value": 0.5},
                    },
                    "inputs": "a",
                },
            },
            "outputs": ["join", "wrapped"],
        }
    )
    a, b = (np.random.default_rng(n).normal(size=(2, 5, 3)).astype("float32") for n in (0, 1))
    joined, wrapped = model({"a": a, "b": b})
    lstm = model.get_layer("lstm")
    np.testing.assert_allclose(joined[:, :4], np.asarray(lstm(a)[1]), rtol=1e-6)
    np.testing.assert_allclose(joined[:, 4:], np.asarray(lstm(b)[0]), rtol=1e-6)
    np.testing.assert_allclose(wrapped[..., 0], a.sum(-1) * 0.5, rtol=1e-5)
    assert [spec.name for spec in input_specs(model)] == ["a", "b"]


def test_it_is_compiled_with_loss_and_optimizer() -> None:
    model = built(
        {"input_shape": [3], "layers": {"a": {"class_name": "Dense", "units": 1}}},
        loss={"class_name": "Huber", "delta": 2.0},
        optimizer={"class_name": "SGD", "learning_rate": 0.5},
    )
    assert isinstance(model.optimizer, keras.optimizers.SGD)
    assert float(model.optimizer.learning_rate) == 0.5
    assert float(model.loss(np.zeros((1, 1)), np.full((1, 1), 10.0))) == 2 * (10 - 1)


def test_a_dtype_policy_holds_for_the_model_alone() -> None:
    model = built({**chain(flat={"class_name": "Flatten"}), "dtype": "mixed_float16"})
    assert model.get_layer("flat").compute_dtype == "float16"
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            chain(conv={"class_name": "Conv2D", "filters": 2, "kernel_size": 9}),
            r"^model.layers.conv: Conv2D has a window of 9 x 9, larger than its input of 8 x 8; "
            "make it smaller, or set padding: same$",
        ),
        (
            chain(pool={"class_name": "MaxPooling2D", "pool_size": 10}),
            "^model.layers.pool: MaxPooling2D has a window of 10 x 10, larger than its input",
        ),
        (
            chain(lstm={"class_name": "LSTM", "units": 2}),
            r"^model.layers.lstm: LSTM expects an input of 3 axes with the sample axis, "
            r"found 4: \(None, 8, 8, 1\)$",
        ),
        (
            chain(
                a={"class_name": "Flatten"},
                b={"class_name": "Concatenate", "inputs": ["a", "input"]},
            ),
            r"^model.layers.b: Concatenate cannot take 'a' \(None, 64\), 'input' ",
        ),
        (
            chain(
                a={"class_name": "Dense", "units": 2, "kernel_initializer": {"class_name": "Nope"}}
            ),
            "Nope",
        ),
        (
            {
                "input_shape": [5, 3],
                "layers": {
                    "lstm": {"class_name": "LSTM", "units": 4, "return_state": True},
                    "next": {"class_name": "Dense", "units": 2},
                },
            },
            "^model.layers.lstm: it returns 3 tensors; name one of them: 'lstm:0', 'lstm:1', ",
        ),
    ],
)
def test_what_does_not_fit_is_named(model: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        built(model)


def test_a_saved_model_is_loaded(tmp_path: Path) -> None:
    made = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)])
    made.save(tmp_path / "m.keras")
    loaded = built({"path": str(tmp_path / "m.keras")})
    np.testing.assert_array_equal(loaded.get_weights()[0], made.get_weights()[0])


def test_a_file_with_code_is_refused(tmp_path: Path) -> None:
    made = keras.Sequential([keras.layers.Input((3,)), keras.layers.Lambda(lambda x: x * 2)])
    made.save(tmp_path / "m.keras")
    with pytest.raises(InputError, match=r"holds Python code .*, which is not run from a file"):
        built({"path": str(tmp_path / "m.keras")})


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("m.keras", b"", "is not a Keras model: it is empty; save the model in Keras: "),
        ("m.keras", b"not a model", r"is not a Keras model: it is a text file; save the "),
        ("m.keras", b"PK\3\4 cut", "is damaged: it begins as a zip file, and its end is missing"),
        ("m.h5", b"a,b\n1,2\n", "is not a Keras model: it is a text file"),
        ("m.h5", b"\x89HDF\r\n\x1a\n", "its weights are damaged"),
        ("m.pb", b"\x1c\0\0\0", "is a TensorFlow graph, whose layers Keras does not load; "),
    ],
)
def test_a_file_that_is_no_model_is_named(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"^model\.path: .*{name}'? .*{said}"):
        built({"path": str(path)})
    with pytest.raises(InputError, match=r"^model.path: no file 'gone.keras' \(looked in "):
        built({"path": "gone.keras"})


_DENSE = {"input_shape": [3], "layers": {"dense": {"class_name": "Dense", "units": 2}}}


def _saved_with(name: str, kernel: np.ndarray) -> Path:
    """Save a model, its kernel replaced by another array of shape (3, 2)."""
    made = built(_DENSE)
    path = Path(name)
    weights = Path("inner.h5") if name.endswith(".keras") else path
    if name.endswith(".weights.h5"):
        made.save_weights(path)
    else:
        made.save(path)
    if name.endswith(".keras"):
        with zipfile.ZipFile(path) as archive:
            members = {member: archive.read(member) for member in archive.namelist()}
        weights.write_bytes(members["model.weights.h5"])
    with h5py.File(weights, "a") as file:
        found: list[str] = []
        file.visititems(lambda at, held: found.append(at) if hasattr(held, "dtype") else None)
        [at] = [at for at in found if file[at].shape == (3, 2)]
        del file[at]
        file[at] = kernel
    if name.endswith(".keras"):
        members["model.weights.h5"] = weights.read_bytes()
        with zipfile.ZipFile(path, "w") as archive:
            for member, content in members.items():
                archive.writestr(member, content)
    return path


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.filterwarnings("ignore:Skipping nested container")
@pytest.mark.parametrize("name", ["m.keras", "m.h5", "w.weights.h5"])
@pytest.mark.parametrize(
    ("kernel", "said"),
    [
        (np.zeros((3, 2), [("a", "f4"), ("b", "f4")]), "/(0|kernel)' holds records, not numbers$"),
        (np.zeros((3, 2), "V4"), "/(0|kernel)' holds bytes, not numbers$"),
        (np.full((3, 2), 1 + 2j), "its weights are complex, and those of the model are real$"),
        (np.full((3, 2), 1e300), "a weight is too large for the dtype of the model$"),
        (np.full((3, 2), b"a"), "its weights are text$"),
    ],
)
def test_weights_that_a_model_cannot_hold_are_refused(
    name: str, kernel: np.ndarray, said: str
) -> None:
    path = str(_saved_with(name, kernel))
    model = {**_DENSE, "weights": path} if name == "w.weights.h5" else {"path": path}
    with pytest.raises(InputError, match=rf"^model\.\w+: {path} cannot be loaded: .*{said}"):
        built(model)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize(
    ("place", "attribute", "value", "said"),
    [
        ("/", "model_config", "[1]", "its model_config is not a JSON object"),
        ("/", "model_config", "3", "its model_config is not a JSON object"),
        ("/", "model_config", "{bad", "its model_config is not JSON"),
        ("/", "model_config", "{}", "a layer in its model_config has no class_name"),
        (
            "/",
            "model_config",
            '{"class_name": "Sequential", "config": 3}',
            "'Sequential' in its model_config has no config",
        ),
        (
            "/",
            "model_config",
            '{"class_name": "Sequential", "config": {"layers": 3}}',
            "'Sequential' in its model_config has no list of layers",
        ),
        ("/", "keras_version", "new", "its keras_version is not a version"),
        ("model_weights", "layer_names", 3, "its layer_names do not list what it holds"),
        ("model_weights", "layer_names", [b"gone"], "its layer_names do not list what it holds"),
        ("model_weights/dense", "weight_names", [1], "its weight_names do not list what it h"),
    ],
)
def test_a_damaged_description_of_a_model_is_named(
    place: str, attribute: str, value: Any, said: str
) -> None:
    keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2, name="dense")]).save("m.h5")
    with h5py.File("m.h5", "a") as file:
        file[place].attrs[attribute] = value
    with pytest.raises(InputError, match=rf"^model\.path: m\.h5 is damaged: {said}"):
        built({"path": "m.h5"})


def test_a_folder_or_a_misnamed_file_is_named_as_what_it_is(tmp_path: Path) -> None:
    made = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)])
    (tmp_path / "exported").mkdir()
    (tmp_path / "exported/saved_model.pb").touch()
    (tmp_path / "unpacked").mkdir()
    (tmp_path / "unpacked/config.json").touch()
    made.save(tmp_path / "m.keras")
    made.save_weights(tmp_path / "w.weights.h5")
    (tmp_path / "m.keras").rename(tmp_path / "m.zip")
    for name, said in {
        "exported": r"is a TensorFlow SavedModel, .*; save the model that it was exported from",
        "unpacked": "is a folder, perhaps of an unpacked Keras model; save the model as one file",
        ".": "expected a regular file, .* is a folder",
        "m.zip": r"is a \.keras file by its content; rename it to end in \.keras",
        "w.weights.h5": r"holds weights without a model; .* name this file in model\.weights",
    }.items():
        with pytest.raises(InputError, match=rf"^model\.path: .*{said}"):
            built({"path": str(tmp_path / name)})


def test_an_application_with_its_arguments() -> None:
    model = built(
        {"class_name": "MobileNetV2", "input_shape": [32, 32, 3], "classes": 5, "alpha": 0.35}
    )
    assert model.output_shape == (None, 5)


def test_weights_from_a_file(tmp_path: Path) -> None:
    declared = {"input_shape": [3], "layers": {"a": {"class_name": "Dense", "units": 2}}}
    built(declared, seed=1).save_weights(tmp_path / "w.weights.h5")
    loaded = built({**declared, "weights": str(tmp_path / "w.weights.h5")}, seed=2)
    np.testing.assert_array_equal(loaded.get_weights()[0], built(declared, seed=1).get_weights()[0])


def test_models_and_layers_of_ones_own() -> None:
    # The working directory of a test is empty and looked in.
    Path("my_nets.py").write_text(
        "import keras\n"
        "@keras.saving.register_keras_serializable()\n"
        "class Twice(keras.layers.Layer):\n"
        "    def call(self, inputs):\n"
        "        return inputs * 2\n"
        "def build(width):\n"
        "    return keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(width)])\n"
        "def wrong():\n"
        "    return 3\n"
    )
    model = built({"function": "my_nets:build", "arguments": {"width": 7}})
    assert model.output_shape == (None, 7)
    own = {"input_shape": [3], "layers": {"twice": {"class_name": "Twice"}}}
    twice = built(own, custom_modules=["my_nets"])
    np.testing.assert_array_equal(np.asarray(twice(np.ones((1, 3)))), 2 * np.ones((1, 3)))
    told = r"must return a keras\.Model or a torch\.nn\.Module, but it returned int"
    with pytest.raises(InputError, match=told):
        built({"function": "my_nets:wrong"})
    with pytest.raises(
        InputError, match=r"^model.function: module 'my_nets' has no function 'biuld'"
    ):
        built({"function": "my_nets:biuld"})
    told = r"^model.arguments: my_nets:build does not take these: missing a required .* 'width'$"
    with pytest.raises(InputError, match=told):
        built({"function": "my_nets:build"})
    with pytest.raises(InputError, match=r"^custom_modules: no module 'my_netz'"):
        built(own, custom_modules=["my_netz"])
    with pytest.raises(InputError, match=r"no class 'Thrice'.*(did you mean 'Twice'|register)"):
        built(
            {"input_shape": [3], "layers": {"x": {"class_name": "Thrice"}}},
            custom_modules=["my_nets"],
        )
