"""A Keras callback that publishes a run from the user's own training."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterable, Mapping
from typing import Any, Unpack

from runner.config.capture_config import CaptureOptions
from runner.config.parsing import check_name, parse_capture
from runner.errors import InputError
from runner.probe.memory_sources import as_probe
from runner.record.header import Header
from runner.record.publication import Publication
from runner.saving.saving import Saving
from runner.showing.settings import Settings
from runner.showing.showing import Showing
from runner.stores.places import Place, draft_at
from runner.stores.store import Draft
from runner.training.checkpoints import Checkpoints
from runner.training.schedule import Schedule, Unit


class ActivationRecorder(Checkpoints):
    """Shows a probe to a model while ``fit`` trains it, and publishes the captured tensors.

    It should be the last callback: it then captures the model after the others changed it.
    The model's weights, statistics, metrics and random streams are not changed, so the
    training gives the same result as without it. A training that does not finish publishes
    nothing. A recorder can be used for only one ``fit``.

    Parameters
    ----------
    probe
        The inputs to show, as for `runner.save_run`, except a generator, which can be read
        only once.
    path
        The run's folder: absent, or empty. Or a new run in another store.
    capture_at, every, unit
        The steps to capture, as in the configuration's ``train``: ``capture_at=[0, 1, 5]``,
        ``every=5``, ``unit="step"`` for batches. By default after every epoch, and before
        the first. The last step is always captured.
    sample_ids, labels, targets, name, config, format
        As in `runner.save_run`.
    **capture
        The capture options ``include``, ``exclude``, ``kinds``, ``reduce``, ``dtype``,
        ``batch_size``, ``training``, ``max_bytes`` and ``on_nan``, as in the configuration.

    Raises
    ------
    InputError
        If the probe, a step or the folder is invalid; while training, if a pattern matches
        no layer or the tables would be too large.
    RunError
        While training, if the model cannot be called on the probe or the disk is full.

    Examples
    --------
    >>> recorder = runner.ActivationRecorder(x, "outputs/mine", every=5)  # doctest: +SKIP
    >>> model.fit(x, y, epochs=20, callbacks=[recorder])  # doctest: +SKIP
    >>> runner.open_run("outputs/mine").table("hidden", step="all")  # doctest: +SKIP
    """

    def __init__(
        self,
        probe: Any,
        path: Place | Draft,
        *,
        capture_at: Iterable[int | str] = (),
        every: int | None = None,
        unit: Unit = "epoch",
        sample_ids: Iterable[Any] | None = None,
        labels: Iterable[Any] | None = None,
        targets: Any = None,
        name: str | None = None,
        config: Mapping[str, Any] | None = None,
        format: str = "parquet",
        **capture: Unpack[CaptureOptions],
    ) -> None:
        moments = list(capture_at)
        if not moments and every is None:
            every = 1
        super().__init__(Schedule(moments, every, unit))
        arrays = hasattr(probe, "__array__") or isinstance(probe, (Mapping, list, tuple))
        beside = () if arrays else (sample_ids, labels, targets)
        if any(hasattr(part, "__next__") for part in (probe, *beside)):
            raise InputError.of(
                "probe",
                "a generator can be read only once, and is needed at every step",
                "give a function that returns it",
            )
        self._draft = draft_at(path, "path")
        self._draft.check()
        self._probe = as_probe(probe, sample_ids, labels, targets)
        check_name(name)
        self._name = name
        self._config = dict(config or {})
        self._settings = Settings(parse_capture(**capture), format)
        self._abandon: weakref.finalize[Any, Any] | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Trace the model and start the run."""
        if self.saving is not None:
            self.abandon()
            raise InputError.of(
                "ActivationRecorder",
                "has recorded a training already",
                "make another one, for another folder",
            )
        header = Header.of_model(self._name, self._config)
        with contextlib.ExitStack() as stack:
            publication = stack.enter_context(Publication(self._draft))
            showing = Showing(self.model, self._probe, self._settings)
            self.saving = stack.enter_context(Saving(publication, showing, header))
            # Keras does not notify callbacks when a training is aborted.
            self._abandon = weakref.finalize(self, stack.pop_all().close)

    def on_train_end(self, logs: Any = None) -> None:
        """Capture the trained model and publish the run."""
        super().on_train_end(logs)
        self.publish()
        self.abandon()

    def abandon(self) -> None:
        """Discard the unpublished run and its files."""
        if self._abandon is not None:
            self._abandon()
