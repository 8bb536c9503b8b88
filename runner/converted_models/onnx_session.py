"""A session of ONNX Runtime, whose computation ends when the process is interrupted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnxruntime

from runner.errors import OutOfMemoryError
from runner.model.backend import stderr_kept_back

_PROVIDERS = ["CPUExecutionProvider"]
_NO_MEMORY = ("Failed to allocate memory", "bad_alloc", "bad allocation")

onnxruntime.set_default_logger_severity(4)  # errors are raised


class OnnxSession:
    """A model as ONNX Runtime computes it; what the runtime prints is left out.

    Python handles a signal only between two of its own steps, and a single call of the runtime
    may take any time: a loop in a model has as many turns as the file says. Another thread
    therefore computes, so that this one can tell the runtime to end.

    Parameters
    ----------
    model
        The model, or the name of its file.
    rewritten
        Whether the runtime may rewrite the graph.
    """

    def __init__(self, model: bytes | str, *, rewritten: bool) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # errors are raised
        if not rewritten:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        with stderr_kept_back(shown=False):
            self._session = onnxruntime.InferenceSession(
                model,
                options,
                _PROVIDERS,
                enable_fallback=0,  # it would print an error
            )
        self._thread = ThreadPoolExecutor(1, "onnxruntime")
        self.inputs: Sequence[Any] = self._session.get_inputs()
        self.outputs: Sequence[Any] = self._session.get_outputs()

    def run(self, names: Sequence[str], given: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Return the values of tensors.

        Parameters
        ----------
        names
            The tensors to return.
        given
            The inputs by name.

        Raises
        ------
        OutOfMemoryError
            If the runtime gets no memory for a tensor.
        """
        options = onnxruntime.RunOptions()
        options.log_severity_level = 4
        try:
            found: list[np.ndarray] = self._thread.submit(
                self._session.run, names, given, options
            ).result()
        except Exception as error:  # those of ONNX Runtime have no common class
            if any(each in str(error) for each in _NO_MEMORY):
                raise OutOfMemoryError(
                    "there is not enough memory for a tensor of the model"
                ) from error
            raise
        except BaseException:
            options.terminate = True
            raise
        return found
