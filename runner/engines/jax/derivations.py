"""Describes how a tensor of a traced pass of JAX was computed outside the layers."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import numpy as np
from jax.extend.core import Literal

from runner.engines.describing import (
    Description,
    Of,
    Source,
    UnknownOperation,
    applied,
    constant,
    described,
    part,
    reshaped,
)

_CALLS = {
    "jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr", "checkpoint": "jaxpr",
}  # fmt: skip
_PASSING = frozenset(("copy", "copy_p", "device_put", "sharding_constraint", "stop_gradient"))
_ENTRY_BY_ENTRY = {
    "abs": "absolute", "add": "add", "add_any": "add", "cos": "cos", "div": "divide", "eq": "equal",
    "erf": "erf", "erfc": "erfc", "exp": "exp", "expm1": "expm1", "floor": "floor",
    "ge": "greater_equal", "gt": "greater", "le": "less_equal", "log": "log", "log1p": "log1p",
    "logistic": "sigmoid", "lt": "less", "max": "maximum", "min": "minimum", "mul": "multiply",
    "ne": "not_equal", "neg": "negative", "pow": "power", "round": "round", "rsqrt": "rsqrt",
    "sign": "sign", "sin": "sin", "sqrt": "sqrt", "square": "square", "sub": "subtract",
    "tanh": "tanh",
}  # fmt: skip
_OF_TRUTHS = {"and": "logical_and", "not": "logical_not", "or": "logical_or"}
_REDUCING = {
    "reduce_max": "max", "reduce_min": "min", "reduce_prod": "prod", "reduce_sum": "sum"
}  # fmt: skip
_SHAPING = frozenset(("expand_dims", "reshape", "squeeze"))
_ELEMENTWISE = (
    {*_PASSING, *_ENTRY_BY_ENTRY, *_OF_TRUTHS}
    | {"clamp", "concatenate", "convert_element_type", "integer_pow", "pad", "select_n"}
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Made:
    """The operation that made a tensor: its inputs are tracers, or tensors inside a function."""

    name: str
    given: Sequence[Any]
    parameters: dict[str, Any]
    place: int


@dataclass(frozen=True, eq=False)
class _Scope:
    """A call of a function inside a traced one."""

    jaxpr: Any
    given: Sequence[Any]
    constants: Sequence[Any]

    @cached_property
    def makers(self) -> dict[Any, tuple[Any, int]]:
        return {
            variable: (equation, place)
            for equation in self.jaxpr.eqns
            for place, variable in enumerate(equation.outvars)
        }

    def tensor(self, atom: Any) -> Any:
        """Return a tensor of the function: what it was given, a constant, or one made inside."""
        if isinstance(atom, Literal):
            return atom.val
        for variables, values in (
            (self.jaxpr.invars, self.given),
            (self.jaxpr.constvars, self.constants),
        ):
            if atom in variables:
                return values[variables.index(atom)]
        return _Inside(atom, self)


@dataclass(frozen=True, eq=False)
class _Inside:
    """A tensor made inside a function that a traced one calls."""

    variable: Any
    scope: _Scope = field(repr=False)

    @property
    def aval(self) -> Any:
        return self.variable.aval

    @property
    def made(self) -> _Made:
        equation, place = self.scope.makers[self.variable]
        given = [self.scope.tensor(atom) for atom in equation.invars]
        return _Made(equation.primitive.name, given, equation.params, place)


def _maker_of(tensor: Any) -> _Made | None:
    """Return what made a tensor; ``None`` for constants and arguments of the pass."""
    if isinstance(tensor, _Inside):
        return tensor.made
    equation = getattr(tensor, "parent", None)
    if equation is None:
        return None
    place = [variable is tensor.val for variable in equation.outvars].index(True)
    return _Made(equation.primitive.name, equation.in_tracers, equation.params, place)


def _constant_of(tensor: Any) -> Any:
    """Return the value of a constant; ``None`` for other tensors."""
    if not isinstance(tensor, jax.core.Tracer):
        return None if isinstance(tensor, _Inside) else tensor
    value = getattr(tensor, "val", None)
    if isinstance(value, Literal):
        return value.val
    known = getattr(getattr(tensor._trace, "frame", None), "constvar_to_val", {})
    found = known.get(value)
    return None if isinstance(found, jax.core.Tracer) else found


def derivation(tensor: Any, source: Source) -> Description | None:
    """Describe how a tensor was computed from named tensors; see `runner.engines.engine`."""
    if not isinstance(tensor, jax.core.Tracer):
        return None

    def named(one: Any) -> Description | None:
        return source(one) if isinstance(one, jax.core.Tracer) else None

    return described(tensor, named, _computed, _name_of)


def before_casts(tensor: Any) -> Any:
    """Return the tensor from which another one is made by casts alone, or that itself."""
    while (made := _maker_of(tensor)) is not None:
        floating = np.issubdtype(tensor.dtype, np.floating) or tensor.dtype.name == "bfloat16"
        [source, *_] = made.given or [None]
        if made.name != "convert_element_type" or not isinstance(source, jax.core.Tracer):
            break
        if not floating and not np.issubdtype(source.dtype, np.integer):
            break
        tensor = source
    return tensor


def elementwise_sources(tensor: Any) -> Sequence[Any]:
    """Return the inputs of the operation that made a tensor entry by entry, if one did."""
    made = _maker_of(tensor)
    if made is None:
        return ()
    given = [one for one in made.given if isinstance(one, jax.core.Tracer)]
    if made.name in _CALLS:  # an activation function, or one that may move the axes
        return [one for one in given if one.shape == tensor.shape]
    return given if made.name in _ELEMENTWISE else ()


def depends_on(result: Any, tensor: Any) -> bool:
    """Return whether a tensor of a pass was computed from another one; true if it is not traced."""
    if not isinstance(result, jax.core.Tracer):
        return True
    waiting, seen = [result], {id(result)}
    while waiting:
        one = waiting.pop()
        if one is tensor:
            return True
        made = _maker_of(one)
        for before in () if made is None else made.given:
            if isinstance(before, jax.core.Tracer) and id(before) not in seen:
                seen.add(id(before))
                waiting.append(before)
    return False


def _shape(tensor: Any) -> tuple[int, ...]:
    return tuple(np.shape(tensor)) if not hasattr(tensor, "aval") else tuple(tensor.aval.shape)


def _dtype(tensor: Any) -> str:
    return str(tensor.aval.dtype if hasattr(tensor, "aval") else np.asarray(tensor).dtype)


def _name_of(tensor: Any) -> str:
    made = _maker_of(tensor)
    return f"constant of shape {list(_shape(tensor))}" if made is None else made.name


def _computed(tensor: Any, of: Of) -> Description:
    value = _constant_of(tensor)
    if value is not None:
        return constant(np.asarray(value), _dtype(tensor))
    made = _maker_of(tensor)
    if made is None:
        raise UnknownOperation(_name_of(tensor))
    name, given, known = made.name, made.given, made.parameters
    if name in _CALLS:
        closed = known[_CALLS[name]]
        jaxpr = getattr(closed, "jaxpr", closed)
        scope = _Scope(jaxpr, given, getattr(closed, "consts", ()))
        return of(scope.tensor(jaxpr.outvars[made.place]))[0]
    if name in _PASSING:
        return of(given[made.place])[0]
    whole = np.issubdtype(_dtype(tensor), np.integer) if name == "div" else False
    if name in _ENTRY_BY_ENTRY and not whole:
        return applied(_ENTRY_BY_ENTRY[name], *of(*given))
    if name in _OF_TRUTHS and _dtype(tensor) == "bool":
        return applied(_OF_TRUTHS[name], *of(*given))
    if name in _REDUCING:
        return applied(_REDUCING[name], *of(*given), axis=[*known["axes"]], keepdims=False)
    if name in _SHAPING:
        return reshaped(of(given[0])[0], _shape(given[0]), _shape(tensor))
    return _moved_or_multiplied(tensor, made, of)


def _moved_or_multiplied(tensor: Any, made: _Made, of: Of) -> Description:
    given, known, shape = made.given, made.parameters, _shape(tensor)
    match made.name:
        case "convert_element_type":
            return applied("cast", *of(given[0]), dtype=_dtype(tensor))
        case "integer_pow":
            return applied("power", *of(given[0]), constant(known["y"], _dtype(tensor)))
        case "select_n" if len(given) == 3 and _dtype(given[0]) == "bool":
            condition, otherwise, chosen = of(*given)
            return applied("where", condition, chosen, otherwise)
        case "clamp":
            least, one, most = of(*given)
            return applied("minimum", applied("maximum", one, least), most)
        case "broadcast_in_dim":
            spread = [1] * len(shape)
            for place, axis in enumerate(known["broadcast_dimensions"]):
                spread[axis] = _shape(given[0])[place]
            told = reshaped(of(given[0])[0], _shape(given[0]), spread)
            return told if tuple(spread) == shape else applied("broadcast_to", told, shape=[*shape])
        case "iota":
            spread = [1] * len(shape)
            spread[known["dimension"]] = shape[known["dimension"]]
            ends = [0, shape[known["dimension"]], 1]
            told = reshaped({"range": ends, "dtype": _dtype(tensor)}, ends[1:2], spread)
            return told if tuple(spread) == shape else applied("broadcast_to", told, shape=[*shape])
        case "transpose":
            return applied("transpose", *of(given[0]), axes=[*known["permutation"]])
        case "concatenate":
            return applied("concatenate", *of(*given), axis=known["dimension"])
        case "stack":
            return applied("stack", *of(*given), axis=known["axis"])
        case "rev":
            return applied("flip", *of(given[0]), axis=[*known["dimensions"]])
        case "split":
            sizes = known["sizes"]
            start = sum(sizes[: made.place])
            key = {"slice": [start, start + sizes[made.place], None]}
            return part(of(given[0])[0], len(shape), known["axis"], key)
        case "slice":
            return applied("get_item", *of(given[0]), key=_key(known, _shape(given[0])))
        case "dot_general":
            return applied("einsum", *of(*given), subscripts=_equation(known, given))
        case "gather":
            return _picked(made, of)
    raise UnknownOperation(made.name)


def _key(known: dict[str, Any], shape: tuple[int, ...]) -> list[Any]:
    steps = known["strides"] or [1] * len(shape)
    ends = zip(known["start_indices"], known["limit_indices"], steps, shape, strict=True)
    return [
        {"slice": [None, None, None] if (start, end, step) == (0, size, 1) else [start, end, step]}
        for start, end, step, size in ends
    ]


def _equation(known: dict[str, Any], given: Sequence[Any]) -> str:
    """Return the equation of ``einsum`` of a product of tensors."""
    contracted, batch = known["dimension_numbers"]
    letters = iter(string.ascii_letters)
    left = [next(letters) for _ in _shape(given[0])]
    right = [next(letters) for _ in _shape(given[1])]
    for one, other in (contracted, batch):
        for place, same in zip(one, other, strict=True):
            right[same] = left[place]
    out = [left[place] for place in batch[0]]
    for named, used in ((left, (contracted[0], batch[0])), (right, (contracted[1], batch[1]))):
        out += [letter for place, letter in enumerate(named) if place not in {*used[0], *used[1]}]
    return f"{''.join(left)},{''.join(right)}->{''.join(out)}"


def _picked(made: _Made, of: Of) -> Description:
    """Describe a gather that takes whole parts along one axis."""
    numbers, sizes = made.parameters["dimension_numbers"], made.parameters["slice_sizes"]
    whole, places = (_shape(one) for one in made.given)
    chosen = numbers.collapsed_slice_dims
    if len(chosen) != 1 or numbers.start_index_map != chosen or places[-1:] != (1,):
        raise UnknownOperation(made.name)
    [axis] = chosen
    rest = range(len(whole) + len(places) - 2)
    behind = [place for place in rest if not axis <= place < axis + len(places) - 1]
    full = [1 if place == axis else size for place, size in enumerate(whole)]
    if [*sizes] != full or [*numbers.offset_dims] != behind:
        raise UnknownOperation(made.name)
    told, indices = of(*made.given)
    return applied("take", told, reshaped(indices, places, places[:-1]), axis=axis)
