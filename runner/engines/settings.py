"""The settings of a model's computations, which go into the record of a run."""

from __future__ import annotations

from dataclasses import dataclass

from runner.bounds import Count, Items

ADOPTED = "adopted"
"""The name, as a backend, of tensors that were computed elsewhere."""


@dataclass(frozen=True)
class Backend:
    """The settings of a model's computations, as they were in the process of the run.

    A setting is ``None`` in runs that were made before it was recorded.

    Attributes
    ----------
    name
        Keras's backend, the runtime of a converted model, or ``adopted``.
    intra_op_threads, inter_op_threads
        Numbers of threads; 0 if TensorFlow chooses them, ``None`` if the framework does not
        report them.
    onednn
        Whether oneDNN's kernels, which may round in another order, are on; ``None`` if the
        framework does not report it.
    deterministic
        Whether only deterministic operations are allowed; ``None`` if the framework has no such
        setting.
    version
        Version of the framework.
    devices
        The devices that the framework found, such as ``cpu``; of a GPU, its name.
    precision
        The setting of the precision of products of float32 matrices, in the framework's words.
    xla_flags
        The environment variable ``XLA_FLAGS``, and the options of Runner's own compilation;
        ``None`` if there are none.
    """

    name: str
    intra_op_threads: Count | None = None
    inter_op_threads: Count | None = None
    onednn: bool | None = None
    deterministic: bool | None = None
    version: str | None = None
    devices: Items[str] = ()
    precision: str | None = None
    xla_flags: str | None = None
