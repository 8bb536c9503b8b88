"""Configuration of a model's precision: the dtype that it computes in, and its quantization."""

from __future__ import annotations

from typing import ClassVar, Literal

from runner.config.strict import Strict

DtypePolicy = Literal[
    "float16", "bfloat16", "float32", "float64", "mixed_float16", "mixed_bfloat16"
]
Quantization = Literal["int8", "int4", "float8"]


class Precision(Strict):
    """What every kind of model has, whether or not its file has the keys."""

    section_title = "Of every kind"
    examples: ClassVar[dict[str, str]] = {
        "dtype": "model.dtype=bfloat16",
        "quantize": "model.quantize=int8",
    }

    dtype: DtypePolicy | None = None
    """Data type of the layers, or a dtype policy: `mixed_bfloat16` computes in bfloat16 and keeps
    the weights in float32; `null`: Keras's default. A layer that names its own keeps it, except in
    a model from a file, of which every layer that computes with floating-point numbers changes.
    """
    quantize: Quantization | None = None
    """Quantizes the layers for which Keras can do it, with `keras.Model.quantize`, once their
    weights are drawn or loaded. The model is not trained then.
    """


PRECISION_KEYS = tuple(f"model.{key}" for key in Precision.model_fields)
"""The keys of every model, by their paths; a model's file need not have them."""
