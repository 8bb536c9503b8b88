"""Models of torchvision, timm and transformers, each held to hooks bit for bit."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

import runner
from runner.errors import InputError

torch = pytest.importorskip("torch", reason="PyTorch is not installed (pip install torch)")

from test_torch_modules import bits, check, random  # noqa: E402

# Operators of torchvision's compiled part. Its wheel needs the build of PyTorch that it was made
# for; beside another one they are missing, and the package cannot be imported without them. The
# models here call none.
_OPERATORS = [
    *("nms", "qnms", "deform_conv2d", "_deform_conv2d_backward"),
    *(f"{kind}{name}" for name in ("roi_align", "roi_pool") for kind in ("", "ps_")),
    *(f"_{kind}{name}_backward" for name in ("roi_align", "roi_pool") for kind in ("", "ps_")),
]


@pytest.fixture(scope="module", autouse=True)
def _operators() -> Any:
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in _OPERATORS if find_spec("torchvision") else ():
        try:
            importlib.import_module("torchvision")
            break
        except (ImportError, RuntimeError):
            library.define(f"{name}() -> Tensor")
    return library  # as long as it lives, the operators exist


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def package(name: str) -> Any:
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed (pip install {name})")
    return importlib.import_module(name)


def tokens(**more: np.ndarray) -> dict[str, np.ndarray]:
    ids = np.random.default_rng(0).integers(0, 50, (5, 7))
    mask = np.ones((5, 7), "int64")
    mask[1, 4:] = 0
    return {"input_ids": ids, "attention_mask": mask, **more}


def held(model: Any, x: dict[str, np.ndarray]) -> Any:
    return check(model, x=x, **{name: torch.from_numpy(array) for name, array in x.items()})


def test_resnet18_of_torchvision() -> None:
    model = package("torchvision").models.resnet18(weights=None)
    activations = check(model, torch.from_numpy(random(3, 3, 64, 64)))
    assert "layer4/1/conv2" in activations
    assert [name for name in activations if name.startswith("layer1/0/relu")] == [
        *("layer1/0/relu@0", "layer1/0/relu@1")
    ]
    assert activations.left_out == {}
    assert list(activations)[-1] == "fc"
    assert activations["avgpool"].axes == ("channel", "height", "width")


def test_a_vision_transformer_of_torchvision() -> None:
    vision = package("torchvision").models.vision_transformer
    model = vision.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=5)
    torch.nn.init.normal_(model.heads.head.weight)
    activations = check(model, torch.from_numpy(random(3, 3, 32, 32)))
    assert "encoder/layers/encoder_layer_1/mlp/3" in activations
    assert activations["heads/head"].value.std() > 0
    weights = runner.capture_activations(model, random(3, 3, 32, 32), kind="weight")
    assert bits(weights["VisionTransformer/class_token"].value) == bits(model.class_token.detach())


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "mobilenetv3_small_050"])
def test_models_of_timm(name: str) -> None:
    sizes = {"img_size": 32, "depth": 2} if name.startswith("vit") else {}
    model = package("timm").create_model(name, num_classes=5, **sizes)
    activations = check(model, torch.from_numpy(random(3, 3, 32, 32)))
    assert len(activations) > 20


def test_bert_of_transformers() -> None:
    transformers = package("transformers")
    model = transformers.BertModel(
        transformers.BertConfig(
            vocab_size=50,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=32,
        )
    )
    activations = held(model, tokens(token_type_ids=np.zeros((5, 7), "int64")))
    assert "encoder/layer/1/attention/self/query" in activations
    assert activations["encoder/layer/0/output/dense"].axes == ("position", "unit")
    assert "pooler" in activations
    assert activations.left_out["embeddings/position_embeddings"].startswith("no sample axis")


def test_a_llama_of_transformers() -> None:
    transformers = package("transformers")
    model = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=50,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            intermediate_size=32,
            max_position_embeddings=32,
            tie_word_embeddings=True,
        )
    )
    activations = held(model, tokens())
    assert activations["lm_head"].shape == (7, 50)
    assert activations["LlamaForCausalLM:logits"].value is activations["lm_head"].value
    assert any("is a DynamicCache, not a tensor" in why for why in activations.left_out.values())


def test_a_tied_weight_is_saved_once(tmp_path: Any) -> None:
    transformers = package("transformers")
    config = transformers.GPT2Config(vocab_size=50, n_embd=16, n_layer=1, n_head=2, n_positions=16)
    run = runner.save_run(transformers.GPT2LMHeadModel(config), tokens(), tmp_path / "run")
    assert run.tensor("lm_head/weight", "weight").alias_of == "transformer/wte/weight"


HEADS, WIDTH, HEAD = 4, 8, 2
SIZES = {"vocab_size": 50, "hidden_size": HEADS * WIDTH, "num_hidden_layers": 2,
         "num_attention_heads": HEADS, "intermediate_size": 16}  # fmt: skip


def bert() -> Any:
    return package("transformers").BertModel(package("transformers").BertConfig(**SIZES))


def llama() -> Any:
    return package("transformers").LlamaModel(
        package("transformers").LlamaConfig(**SIZES, num_key_value_heads=2)
    )


def gpt2() -> Any:
    sizes = {"vocab_size": 50, "n_embd": HEADS * WIDTH, "n_layer": 2, "n_head": HEADS}
    return package("transformers").GPT2Model(package("transformers").GPT2Config(**sizes))


@pytest.mark.parametrize(
    ("made", "attention", "projection"),
    [
        (bert, "encoder.layer.0.attention.self", "encoder.layer.0.attention.output.dense"),
        (llama, "layers.1.self_attn", "layers.1.self_attn.o_proj"),
        (gpt2, "h.0.attn", "h.0.attn.c_proj"),
    ],
)
def test_a_head_is_switched_off_as_by_a_hook_before_the_projection(
    made: Any, attention: str, projection: str, tmp_path: Any
) -> None:
    model = made().eval()
    path = attention.replace(".", "/")

    def captured(**intervene: Any) -> dict[str, np.ndarray]:
        found = runner.capture_activations(model, tokens(), intervene=intervene)
        return {name: one.value for name, one in found.items()}

    plain, found = captured(), captured(**{path: {"heads": HEAD, "set": 0}})

    def without(_: Any, given: Any) -> Any:
        joined = given[0].clone()
        joined[..., HEAD * WIDTH : (HEAD + 1) * WIDTH] = 0
        return (joined, *given[1:])

    hook = model.get_submodule(projection).register_forward_pre_hook(without)
    try:
        expected = captured()
    finally:
        hook.remove()
    last = next(reversed(expected))
    np.testing.assert_allclose(found[last], expected[last], rtol=1e-5, atol=1e-6)
    assert np.abs(found[last] - plain[last]).max() > 1e-4
    each = {path: {"heads": "each", "set": 0}}
    run = runner.save_run(model, tokens(), tmp_path / "each", intervene=each, format="none")
    of_head = run.effects.set_index(["output", "head"])["mean_abs"]
    assert len(of_head) == HEADS * run.effects["output"].nunique()
    change = np.abs(found[last] - plain[last]).mean()
    assert np.isclose(of_head.xs(HEAD, level="head"), change, rtol=1e-4).any()
    same = captured(**{path: {"heads": "0-3", "scale": 1}})
    for name, array in plain.items():
        np.testing.assert_array_equal(same[name], array, name)
    with pytest.raises(InputError, match=r"has no heads that can be changed; layers with heads: "):
        captured(**{projection.replace(".", "/"): {"heads": 0, "set": 0}})
