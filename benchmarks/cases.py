"""All cases of a backend."""

from __future__ import annotations

import os

from benchmarks.case import Case


def cases_of(backend: str) -> tuple[Case, ...]:
    """Return the cases of a backend, and let Keras run on it, unless it is imported already."""
    os.environ["KERAS_BACKEND"] = backend
    from benchmarks import models

    if backend != "torch":
        return models.CASES
    from benchmarks import modules

    return (*models.CASES, *modules.CASES)
