"""Converts the model of a run to another format, and runs the file, which the new run keeps."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from runner.config.composition import Composition
from runner.config.experiment_config import ExperimentConfig
from runner.config.model_config import SavedModel
from runner.experiment.experiment import Beside, run_experiment
from runner.experiment.given_weights import GivenWeights
from runner.model.backend import load_backend
from runner.model.exporting import export_model
from runner.stores.store import StoredRun


def run_converted(
    before: ExperimentConfig,
    composition: Composition,
    folder: Path,
    run_id: str,
    weights: GivenWeights,
    beside: Beside | None = None,
) -> StoredRun:
    """Convert a model, show the conversion the probe, and publish the results.

    Parameters
    ----------
    before
        The experiment with the model of Keras.
    composition
        The same experiment, with the file in the folder of the new run as its model.
    folder, run_id, beside
        As in `runner.experiment.experiment.run_experiment`.
    weights
        The weights that the model of Keras is given.

    Raises
    ------
    InputError
        If the model cannot be built or converted, or the request is invalid.
    RunError
        If the new run fails.
    """
    after = composition.experiment
    assert isinstance(after.model, SavedModel)
    load_backend(before.backend)
    model = weights.model_of(before)
    with tempfile.TemporaryDirectory(prefix="runner-convert-") as place:
        file = Path(place, Path(after.model.path).name)
        content = export_model(model, file)
        there = after.model_copy(update={"model": SavedModel.model_validate({"path": str(file)})})
        made = replace(
            composition, experiment=there, files={**composition.files, file.name: content}
        )
        return run_experiment(made, folder, run_id=run_id, beside=beside)
