"""One model for the jobs of a batch, as long as each gets what its own model would give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner.config.cheap_keys import changed, without
from runner.config.composition import Composition
from runner.config.experiment_config import CHEAP_KEYS, ExperimentConfig, FunctionModel
from runner.experiment.experiment import make_ready, settings_of

if TYPE_CHECKING:
    import keras

    from runner.model.redrawing import RedrawnModel
    from runner.showing.showing import Showing


class SharedModel:
    """The model of a batch: built for its first job, and redrawn for each other one.

    For the first job in which a cheap key has another value, a model is built as well: the
    weights and the first values of both have to be the same, bit for bit.

    Attributes
    ----------
    refusal
        Why each job has to build its own model, if so.
    """

    def __init__(self) -> None:
        self.refusal: str | None = None
        self._common: Any = None
        self._first: ExperimentConfig | None = None
        self._checked: set[str] = set()
        self._redrawn: RedrawnModel | None = None
        self._showing: Showing | None = None

    def showing(self, composition: Composition) -> Showing | None:
        """Return a showing of the model with a job's weights; ``None`` if it cannot be shared.

        Raises
        ------
        InputError, RunError
            As in `make_ready`.
        """
        config = composition.experiment
        self.refusal = self.refusal or self._refusal(config)
        if self.refusal is None:
            if self._showing is None:
                self._begin(composition)
            else:
                self._redraw(config)
        return self._showing if self.refusal is None else None

    def _refusal(self, config: ExperimentConfig) -> str | None:
        """Return why a job cannot share the model, as far as its configuration tells."""
        # Without `extra`, whose values matter only where other keys refer to them.
        common = changed(without(config, CHEAP_KEYS), "extra", {})
        self._common = self._common or common
        if common != self._common:
            return "more than the seed differs between the jobs"
        if isinstance(config.model, FunctionModel):
            return "model.function may use the seed in any way"
        return "it is trained" if config.train is not None else None

    def _begin(self, composition: Composition) -> None:
        self._first = composition.experiment
        model, probe = make_ready(composition, self._built)
        from runner.showing.showing import Showing

        self._showing = Showing(model, probe, settings_of(composition.experiment))
        if self._showing.capture.draws_outside:
            self.refusal = "a layer draws from the random stream of the whole process"

    def _built(self, config: ExperimentConfig) -> keras.Model:
        from runner.model.redrawing import RedrawnModel

        self._redrawn = RedrawnModel(config)
        return self._redrawn.model

    def _redraw(self, config: ExperimentConfig) -> None:
        assert self._first is not None
        assert self._redrawn is not None
        assert self._showing is not None
        self._redrawn.redraw(config.seed)
        self._showing.renew()
        other = {key for key in CHEAP_KEYS if _value(config, key) != _value(self._first, key)}
        if other <= self._checked:
            return
        if (place := self._difference(config)) is None:
            self._checked |= other
        else:
            self.refusal = f"the seed changes '{place}' differently than redrawing does"

    def _difference(self, config: ExperimentConfig) -> str | None:
        """Return the weight or tensor that differs from that of a job's own model, if any."""
        from runner.model.building import build_model
        from runner.showing.showing import Showing

        assert self._redrawn is not None
        assert self._showing is not None
        built = build_model(config)
        if (path := self._redrawn.difference(built)) is not None:
            return path
        alone = Showing(built, self._showing.probe, self._showing.settings)
        for spec, expected, found in zip(
            alone.capture.tensors, alone.first, self._showing.first, strict=True
        ):
            one, other = (None if array is None else array.tobytes() for array in (expected, found))
            if one != other:
                return spec.name
        return None


def _value(config: Any, key: str) -> Any:
    for name in key.split("."):
        config = getattr(config, name)
    return config
