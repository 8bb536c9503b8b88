"""Describes in one line why a forward pass failed."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from runner.errors import InputError, RunError, RunnerError


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Raise an error of one line that names the cause of a failed forward pass, and the layer."""
    try:
        yield
    except RunnerError:
        raise
    except Exception as error:
        text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
        index = re.search(r"indices\[.*?\] = (-?\d+) is not in \[(\d+), (\d+)\)", text)
        if index:
            found, low, high = index.groups()
            raise InputError.of(
                "probe", f"index {found} is outside an embedding of {low} to {int(high) - 1}"
            ) from error
        where = " ".join(getattr(error, "__notes__", []))
        raise RunError(
            f"the model cannot be called on the probe{where and f' ({where})'}: "
            f"{in_one_line(error)}"
        ) from error


def in_one_line(error: Exception) -> str:
    """Return the message of an error of Keras or TensorFlow, without the surrounding text."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip() or type(error).__name__
    if "\n\t [[" in text:  # an error in a graph begins with the position in its code
        text = text.partition("\n\t [[")[0].rpartition("\n")[2]
    # Keras surrounds the message with the layer, reported elsewhere, and a long context.
    text = re.sub(r"^(Exception encountered when calling \S+\.call\(\)\.\s+)+", "", text)
    for rest in ("\n\nArguments received by ", "\n\t; NodeDef: "):
        text = text.partition(rest)[0]
    text = " ".join(text.split())
    return text if len(text) <= 300 else f"{text[:297]}..."
