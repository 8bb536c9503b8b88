"""Showings of a probe with the interventions of their settings, and their effects."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from runner.errors import InputError
from runner.intervening.each_effects import EachEffects
from runner.intervening.edits import Edits
from runner.intervening.effects import Effects, check_logits
from runner.intervening.resolving import Targets
from runner.probe.probe import Probe
from runner.showing.settings import Settings
from runner.showing.showing import Showing


class Showings:
    """Showings of a probe to a model with one intervention after another.

    Those that differ only in the values of cheap keys share their traced passes: what is done
    enters as an argument.

    Parameters
    ----------
    model, probe
        The model and the probe.
    """

    def __init__(self, model: Any, probe: Probe) -> None:
        self._model, self._probe = model, probe
        self._plain: Showing | None = None
        self._targets: dict[Hashable, Targets] = {}
        self._known: dict[Hashable, tuple[Showing, Effects | EachEffects]] = {}

    def of(self, settings: Settings) -> Showing:
        """Return a showing with the current state of the model and the interventions of settings.

        If they change units, heads or positions one at a time, the showing itself has no
        interventions: only their effects are measured. The next call may start the same showing
        again.

        Parameters
        ----------
        settings
            How to show the probe: in everything but the values of cheap keys as in the first call.

        Raises
        ------
        InputError
            As `Showing` does, or if an intervention does not fit the model.
        """
        intervene = settings.intervene
        if not intervene:
            return self._without(settings)
        if "class" in settings.effects_by and next(iter(self._probe.batches(1))).labels is None:
            raise InputError.of("effects.by", "the probe has no labels", "leave class out")
        each = any(what.is_of_each for what in intervene.values())
        plain = self._without(settings) if each else None
        targets = self._targets_of(settings, plain)
        edits = Edits(targets.edits(intervene))
        if edits.form not in self._known:
            showing = plain or Showing(self._model, self._probe, settings, edits)
            check_logits(targets.showing.capture, settings.logit_difference)
            effects = (EachEffects if each else Effects)(targets.showing, edits)
            self._known[edits.form] = showing, effects
        else:
            showing, effects = self._known[edits.form]
            if not each:
                showing.renew(edits)
            effects.renew(edits)
        showing.settings, showing.effects = settings, effects
        return showing

    def _without(self, settings: Settings) -> Showing:
        if self._plain is None:
            self._plain = Showing(self._model, self._probe, settings)
        else:
            self._plain.renew()
        return self._plain

    def _targets_of(self, settings: Settings, plain: Showing | None) -> Targets:
        of_heads = [(pattern, what.heads is None) for pattern, what in settings.intervene.items()]
        key = (plain is None, *of_heads)
        if key not in self._targets:
            self._targets[key] = Targets(self._model, self._probe, settings, plain)
        return self._targets[key]


def showing_of(model: Any, probe: Probe, settings: Settings) -> Showing:
    """Return a showing of a probe to a model, with the interventions of the settings.

    Raises
    ------
    InputError
        As `Showings.of`.
    """
    return Showings(model, probe).of(settings)
