"""Plans a run that is made in parts: divides its samples, and trains its model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from runner.config.composition import Composition
from runner.errors import DamagedError, InputError
from runner.experiment.experiment import header_of, show_plan
from runner.file_names import LOG
from runner.parts.part_records import WEIGHTS, Plan
from runner.parts.parts_folder import PartsFolder
from runner.record.header import Header
from runner.record.publication import Publication
from runner.record.reading import MAX_RECORD_BYTES
from runner.showing.division import Division, Measured
from runner.stores.store import StoredRun

if TYPE_CHECKING:
    import keras
    import numpy as np

    from runner.saving.saving import Progress
    from runner.showing.showing import Showing

_ENTRY_BYTES = 300  # of the record of a file, at most
_WHOLE = "leave out parts, and the run is made whole"


def planned(
    composition: Composition, folder: PartsFolder, run_id: str, progress: Progress | None = None
) -> Plan:
    """Return the plan of a run, which is made unless an earlier command made it.

    Parameters
    ----------
    composition
        The experiment.
    folder
        The folder of the parts.
    run_id
        Id of the run, if it is planned now.
    progress
        Called with the number of samples trained on since the last call, and their total.

    Raises
    ------
    InputError
        If the run cannot be made in parts, or there are parts of another run; nothing is written.
    RunError
        If the model cannot be trained.
    """
    header = header_of(composition, run_id)
    if (earlier := folder.plan()) is not None:
        if earlier[1].fingerprint != header.fingerprint:
            raise InputError.of(
                str(folder.folder),
                "holds parts of a run of another configuration, other files or versions",
                f"{folder.start_over}; or name another hydra.run.dir",
            )
        return earlier[1]
    with composition.variables.kept_secret():
        showing = show_plan(composition)
        division = division_of(showing, composition.experiment.parts)
        return _published(folder, composition, header, showing, division, progress)


def _published(
    folder: PartsFolder,
    composition: Composition,
    header: Header,
    showing: Showing,
    division: Division,
    progress: Progress | None,
) -> Plan:
    from runner.saving.run_log import RunLog
    from runner.saving.weight_values import sha256_of

    training = weights = None
    log = RunLog(header)
    log.add(showing.summary())
    with Publication(folder.draft()) as publication:
        if composition.experiment.train is not None:
            from runner.training.fitting import fit_alone

            training = fit_alone(
                showing.model, showing.whole, publication, composition.experiment, progress
            )
            log.add("the model was trained")
            values = _values(showing.model)
            weights = sha256_of(values)
            with publication.open(WEIGHTS) as file:
                for value in values:
                    file.write(value.tobytes())
        log.add(f"{len(division.starts)} parts were planned")
        for name, data in {**header.files, LOG: log.content()}.items():
            publication.write(name, data)
        plan = Plan(
            run_id=header.run_id,
            fingerprint=str(header.fingerprint),
            started=header.started,
            division=division,
            training=training,
            weights=weights,
            files=dict(publication.files),
        )
        publication.publish(plan.to_json())
    return plan


def division_of(showing: Showing, parts: int) -> Division:
    """Return the parts of a probe whose first batch was shown; raise InputError if it has none."""
    rows, size = showing.whole.rows, showing.batch_size
    why = next(_obstacles(showing), None)
    if why is not None or rows is None:
        why = why or f"the number of samples of {showing.whole.source} is not known beforehand"
        raise InputError.of("parts", why, _WHOLE)
    if (batches := -(-rows // size)) < parts:
        raise InputError.of(
            "parts",
            f"{rows:,} samples in batches of {size:,} are {batches:,}, fewer than {parts:,} parts",
            f"set parts to at most {batches:,}" if batches > 1 else _WHOLE,
        )
    if parts * len(showing.capture.tensors) * _ENTRY_BYTES > MAX_RECORD_BYTES:
        files = parts * len(showing.capture.tensors)
        raise InputError.of("parts", f"{files:,} files are too many for one record", "lower it")
    reasons = {spec: (None, reason) for spec, reason in showing.left_out.items()}
    found = reasons | {spec: (each, None) for spec, each in showing.invariance.items()}
    measured = [Measured(spec.name, spec.kind, *each) for spec, each in found.items()]
    starts = Division.starts_of(parts, rows, size)
    return Division(rows, size, starts, showing.compared_sizes, tuple(measured))


def _obstacles(showing: Showing) -> Iterator[str]:
    """Yield why the values of some samples depend on others."""
    capture = showing.capture
    unsteady = [spec.name for spec, found in showing.invariance.items() if found is None]
    if unsteady:
        yield f"the values of '{unsteady[0]}' differ each time that a batch is shown"
    if capture.library.has_states(showing.model) or capture.carries_state:
        yield "the model keeps a state from batch to batch"
    if capture.draws_outside:
        yield "a layer draws from the random stream of the whole process"
    if showing.mixed_by is not None:
        yield f"the output of '{showing.mixed_by}' for a sample depends on the samples beside it"
    if not capture.tensors:
        yield "no tensor with a row per sample is captured"


def _values(model: keras.Model) -> list[np.ndarray]:
    from runner.capture.model_libraries import library_of

    value_of = library_of(model).value_of
    return [value_of(weight) for weight in model.weights]


def set_weights(model: keras.Model, plan: StoredRun, digests: Mapping[str, Any]) -> None:
    """Set the weights of a model to those of the trained model, which are beside the plan.

    Raises
    ------
    DamagedError
        If they are damaged.
    """
    import numpy as np

    values = _values(model)
    if (size := sum(own.nbytes for own in values)) != digests[WEIGHTS].bytes:
        held = digests[WEIGHTS].bytes
        what = f"expected {size:,} bytes of weights, found {held:,}"
        raise DamagedError.of(plan.place(WEIGHTS), what)
    with plan.open_verified(WEIGHTS, digests[WEIGHTS]) as file:
        for weight, own in zip(model.weights, values, strict=True):
            data = np.frombuffer(file.read(own.nbytes), own.dtype)
            weight.assign(data.reshape(own.shape))
