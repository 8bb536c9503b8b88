"""Configuration of the interventions: the key of an action decides which other keys there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import reduce
from operator import or_
from typing import Annotated, Any

from runner.config.arguments import shown
from runner.config.strict import Chosen, UnknownKey, refuse
from runner.errors import InputError, Problem, suggest
from runner.intervening.action import Action
from runner.registry import Registry


def _is_action(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Action) and value is not Action


ACTIONS: Registry[type[Action]] = Registry("runner.actions", "intervene", _is_action)
"""Classes of actions by their keys."""


def action_in(given: Mapping[str, Any]) -> type[Action]:
    """Return the action whose key an intervention has.

    Raises
    ------
    InputError
        If it has none, or those of several.
    """
    named = [key for key in given if key in ACTIONS and given[key] is not None]
    if len(named) == 1:
        return ACTIONS[named[0]]
    if not named:
        known = {key for action in ACTIONS.values() for key in action.model_fields}
        refuse(
            UnknownKey(str(key), advice=suggest(str(key), known) or _choices())
            for key in given
            if key not in known
        )
    found = f"found {' and '.join(named)}" if named else "found none"
    raise InputError.of("", f"expected {_choices()}, {found}")


def each_problems(intervene: Mapping[str, Action]) -> Iterator[Problem]:
    """Yield a problem for each intervention beside one of each unit by itself."""
    of_each = [pattern for pattern, what in intervene.items() if what.is_of_each]
    others = [pattern for pattern in intervene if pattern not in of_each]
    if of_each and others:
        yield Problem(
            f"intervene.{others[0]}",
            f"cannot stand beside {of_each[0]}, of which each unit or position is changed alone",
            "make a run for each of them",
        )


def _choices() -> str:
    return f"one of {', '.join(ACTIONS)}"


def _validated(given: Any) -> Action:
    if isinstance(given, Action):
        return given
    if not isinstance(given, Mapping):
        raise InputError.of("", f"expected a mapping, found {shown(given)}")
    action = action_in(given)
    strange = [key for key in given if key not in action.model_fields]
    owners = {
        key: each.name()
        for each in (ACTIONS.values() if strange else ())
        for key in each.model_fields
    }
    refuse(
        Problem(key, f"is a key of {owners[key]}", f"leave it out beside {action.name()}")
        for key in strange
        if key in owners and given[key] is not None
    )
    # Its errors get the place of the intervention from pydantic.
    return action.model_validate({key: one for key, one in given.items() if one is not None})


Intervention = Annotated[Action, Chosen(_validated, lambda: reduce(or_, ACTIONS.values()))]
"""What is done to the outputs that a pattern matches."""
