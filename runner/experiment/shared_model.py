"""One model for the jobs of a batch, as long as each gets what its own model would give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner.config.cheap_keys import changed
from runner.config.composition import Composition
from runner.config.experiment_config import ExperimentConfig
from runner.config.model_config import FunctionModel, SavedModel, is_converted
from runner.config.sharing import CHEAP_KEYS, shared_part
from runner.experiment.drawing import model_of
from runner.experiment.experiment import make_ready, settings_of
from runner.model.backend import default_backend

if TYPE_CHECKING:
    from runner.intervening.intervened import Showings
    from runner.model.redrawing import RedrawnModel
    from runner.showing.showing import Showing


class SharedModel:
    """The model of a batch: built for its first job, and redrawn for each job with another seed.

    For the first job in which a cheap key of `CHEAP_KEYS` has another value, a model is built as
    well: the weights and the first values of both have to be the same, bit for bit. If code of the
    user's made the model, that is done for the second job in any case.

    Attributes
    ----------
    refusal
        Why the last job has to build its own model, if so.
    """

    def __init__(self) -> None:
        self.refusal: str | None = None
        self._flaw: str | None = None  # why no other job can share the model
        self._common: Any = None
        self._first: ExperimentConfig | None = None
        self._checked: set[str] = set()
        self._model: Any = None
        self._redrawn: RedrawnModel | None = None
        self._showings: Showings | None = None

    def showing(self, composition: Composition) -> Showing | None:
        """Return a showing of the model with a job's weights; ``None`` if it cannot be shared.

        Raises
        ------
        InputError, RunError
            As in `make_ready`, or if an intervention does not fit the model.
        """
        config = composition.experiment
        self.refusal = self._flaw or self._refusal(config)
        if self.refusal is not None:
            return None
        if self._showings is None:
            showing = self._begun(composition)
        else:
            showing = self._of_another(config, self._showings)
        self.refusal = self._flaw
        return showing if self.refusal is None else None

    def _refusal(self, config: ExperimentConfig) -> str | None:
        """Return why a job cannot share the model, as far as its configuration tells."""
        # Without `extra`, whose values matter only where other keys refer to them.
        common = changed(shared_part(config), "extra", {})
        self._common = self._common or common
        if common != self._common:
            return "more than the seed and interventions differ between the jobs"
        backend = config.backend or default_backend()[0]
        if config.drawn_by not in (None, backend):
            return "its weights are drawn by another backend"
        if config.train is not None:
            return "it is trained"
        if self._first is None or config.seed == self._first.seed:
            return None
        return _why_not_redrawn(config)

    def _begun(self, composition: Composition) -> Showing:
        model, probe = make_ready(composition, self._built)
        from runner.intervening.intervened import Showings

        showings = Showings(model, probe)
        showing = showings.of(settings_of(composition.experiment, model))
        self._first, self._model, self._showings = composition.experiment, model, showings
        if showing.capture.draws_outside:
            self._flaw = "a layer draws from the random stream of the whole process"
        return showing

    def _built(self, config: ExperimentConfig) -> Any:
        if _why_not_redrawn(config) is not None:
            return model_of(config)
        from runner.model.redrawing import RedrawnModel

        self._redrawn = RedrawnModel(config)
        return self._redrawn.model

    def _of_another(self, config: ExperimentConfig, showings: Showings) -> Showing:
        """Return a showing of another job than the first, and check that it is as its own."""
        assert self._first is not None
        if self._redrawn is not None:
            self._redrawn.redraw(config.seed)
        showing = showings.of(settings_of(config, self._model))
        other = {key for key in CHEAP_KEYS if getattr(config, key) != getattr(self._first, key)}
        if isinstance(config.model, FunctionModel) or config.custom_modules:
            other.add("model")
        if other <= self._checked:
            return showing
        if (place := self._difference(config, showing)) is None:
            self._checked |= other
        elif self._redrawn is None:
            self._flaw = f"'{place}' is another one if the model is built again"
        else:
            self._flaw = f"the seed changes '{place}' differently than redrawing does"
        return showing

    def _difference(self, config: ExperimentConfig, showing: Showing) -> str | None:
        """Return the weight or tensor that differs from that of a job's own model, if any."""
        from runner.intervening.intervened import showing_of

        built = model_of(config)
        if self._redrawn is not None and (path := self._redrawn.difference(built)) is not None:
            return path
        alone = showing_of(built, showing.probe, showing.settings)
        for spec, expected, found in zip(
            alone.capture.tensors, alone.first, showing.first, strict=True
        ):
            one, other = (None if array is None else array.tobytes() for array in (expected, found))
            if one != other:
                return spec.name
        return None


def _why_not_redrawn(config: ExperimentConfig) -> str | None:
    """Return why a model of another seed has to be built again; ``None`` if new weights do."""
    if isinstance(config.model, FunctionModel):
        return "model.function may use the seed in any way"
    if isinstance(config.model, SavedModel) and is_converted(config.model.path):
        return "a converted model has no weights that are drawn"
    if config.model.quantize is not None:
        return "its weights are quantized after they are drawn"
    return None
