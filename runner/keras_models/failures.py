"""Describes in one line why a forward pass failed."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import keras
import numpy as np

from runner.capture.batches import Shown
from runner.errors import CallError, InputError, RunnerError
from runner.keras_models.state import first_call
from runner.model.backend import framework

# Number of batch sizes that are tried, and their limit: a multiple of the batch that failed.
_TRIED = 8
_TIMES, _SMALL = 4, 64


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Raise an error of one line that names the cause of a failed forward pass, and the layer."""
    try:
        yield
    except RunnerError:
        raise
    except Exception as error:
        if (outside := framework().index_outside(error)) is not None:
            index, first, last = outside
            raise InputError.of(
                "probe", f"index {index} is outside an embedding of {first} to {last}"
            ) from error
        where = " ".join(getattr(error, "__notes__", []))
        raise CallError(
            f"the model cannot be called on the probe{where and f' ({where})'}: "
            f"{in_one_line(error)}"
        ) from error


def in_one_line(error: Exception) -> str:
    """Return the message of an error of Keras or its framework, without the surrounding text."""
    text = framework().message_of(error) or type(error).__name__
    # Keras surrounds the message with the layer, reported elsewhere, and a long context.
    text = re.sub(r"^(Exception encountered when calling \S+\.call\(\)\.\s+)+", "", text)
    text = " ".join(text.partition("\n\nArguments received by ")[0].split())
    return text if len(text) <= 300 else f"{text[:297]}..."


def batch_size_advice(error: CallError, model: keras.Model, inputs: Any, rows: int | None) -> str:
    """Return advice if the code of a model requires another batch size.

    The numbers in the error's message are tried, since it usually contains the shape that the
    code expects.

    Parameters
    ----------
    error
        The error that was raised for the first batch.
    model, inputs
        The model, and that batch.
    rows
        Total number of samples, if known.

    Returns
    -------
    str
        The key, and its value if that was found; empty if the error is not about the size of
        the batch.
    """
    count = Shown(inputs).samples
    numbers = [int(number) for number in re.findall(r"(?<![\w.])\d+(?![\w.])", str(error))]
    if not any(number % count == 0 for number in numbers if number):
        return ""  # no shape in the message is that of the batch
    size = next(
        (size for size in _sizes(numbers, count) if _is_made_for(model, inputs, size)), None
    )
    if size is None:
        return (
            "if its code fixes how many samples a batch has, set capture.batch_size to that number "
            "(in Python: batch_size)"
        )
    advice = f"its code is made for batches of {size}: set capture.batch_size={size}"
    if rows is not None and rows < size:
        advice += f" and show it {size} samples or more"
    return f"{advice} (in Python: batch_size={size})"


def _sizes(numbers: list[int], count: int) -> list[int]:
    """Return the batch sizes that numbers in an error may mean, the most likely first."""
    # A failed reshape reports how many values it got and how many it expects. If it got 80 for
    # 10 samples and expects 32, it expects 4 samples.
    scaled = [Fraction(other * count, number) for number in numbers if number for other in numbers]
    found = [*numbers, *(int(size) for size in scaled if size.denominator == 1)]
    largest = max(_TIMES * count, _SMALL)
    sizes = dict.fromkeys(size for size in found if 0 < size <= largest and size != count)
    return list(sizes)[:_TRIED]


def _is_made_for(model: keras.Model, inputs: Any, size: int) -> bool:
    """Return whether a model accepts batches of this size only.

    A row per sample is taken as proof. Without it, the width of a layer may be wrong instead, and
    the batch only happens to hold as many values as a reshape expects.
    """
    rows = _output_rows(model, inputs, size)
    return rows == {size} or (rows is not None and _output_rows(model, inputs, 2 * size) is None)


def _output_rows(model: keras.Model, inputs: Any, size: int) -> set[int] | None:
    """Return how many rows a model returns for a batch; ``None`` if it fails."""
    shown = Shown(inputs)
    batch = shown.taken(np.resize(np.arange(shown.samples), size)).inputs
    try:
        with first_call(model):
            outputs = keras.tree.flatten(model(batch, training=False))
    except Exception:  # as from any forward pass
        return None
    return {output.shape[0] if output.shape else 0 for output in outputs}
