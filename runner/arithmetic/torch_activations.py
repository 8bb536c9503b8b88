"""Accounts of the activation functions of ``torch.nn``."""

from __future__ import annotations

import numpy as np

from runner.arithmetic.account import Account, not_covered, table_of
from runner.arithmetic.elementwise import mapped, one_value
from runner.arithmetic.functions import FUNCTIONS, PARAMETRIC, Function
from runner.arithmetic.layer_call import LayerCall

Place = tuple[int, ...]

# Functions without parameters, by the names of their modules.
_PLAIN = {
    **{"ReLU": "relu", "ReLU6": "relu6", "Sigmoid": "sigmoid", "Tanh": "tanh", "SiLU": "silu"},
    **{"SELU": "selu", "Mish": "mish", "Softsign": "softsign", "LogSigmoid": "log_sigmoid"},
    **{"Hardswish": "hard_swish", "Hardsigmoid": "hard_sigmoid", "Tanhshrink": "tanh_shrink"},
}
_WITH_PARAMETERS = {"ELU": "elu", "CELU": "celu", "LeakyReLU": "leaky_relu"}
_ACROSS = {
    **{"Softmax": "softmax", "LogSoftmax": "log_softmax", "Softmax2d": "softmax"},
    "Softmin": "softmax",
}
ACTIVATIONS = (
    *(*_PLAIN, *_WITH_PARAMETERS, *_ACROSS),
    *("GELU", "Hardshrink", "Hardtanh", "PReLU", "RReLU", "Softplus", "Softshrink", "Threshold"),
)
"""Names of the modules of activation functions, without GLU."""


def activation(call: LayerCall, place: Place) -> Account:
    """Return the account of a value of an activation function."""
    kind, known = call.layer.layer_class, call.arguments
    if kind in _ACROSS:
        axis = 1 if kind == "Softmax2d" else known.get("dim")
        if not isinstance(axis, int):
            raise not_covered(call.name, f"{kind} modules without dim")
        axis = axis - 1 if axis > 0 else axis
        if kind == "Softmin":
            return _softmin(call, place, axis)
        return mapped(call, place, _ACROSS[kind], axis)
    if kind in _PLAIN:
        return mapped(call, place, _PLAIN[kind], -1)
    entry = np.array([call.operand.values[place]], np.float64)
    return one_value(call, place, float(_function_of(call, place)(entry)[0]))


def _softmin(call: LayerCall, place: Place, axis: int) -> Account:
    line = np.moveaxis(-call.operand.values.astype(np.float64), axis, -1)
    values = np.moveaxis(FUNCTIONS["softmax"](line), -1, axis)
    return one_value(call, place, float(values[place]))


def _function_of(call: LayerCall, place: Place) -> Function:
    """Return the function of one number that an activation with parameters computes."""
    kind, known = call.layer.layer_class, call.arguments
    match kind:
        case "GELU":
            return PARAMETRIC["gelu"]({"approximate": known.get("approximate") == "tanh"})
        case "Hardtanh":
            return lambda x: np.clip(x, float(known["min_val"]), float(known["max_val"]))
        case "Softplus":
            beta, most = float(known["beta"]), float(known["threshold"])
            return lambda x: np.where(x * beta > most, x, np.logaddexp(x * beta, 0) / beta)
        case "Hardshrink" | "Softshrink":
            name = "hard_shrink" if kind == "Hardshrink" else "soft_shrink"
            return PARAMETRIC[name]({"threshold": known["lambd"]})
        case "Threshold":
            return lambda x: np.where(x > float(known["threshold"]), x, float(known["value"]))
        case "PReLU":
            slopes = call.weight("weight")
            slope = float(slopes[place[0] if slopes.size > 1 else 0])
            return lambda x: np.where(x > 0, x, x * slope)
        case "RReLU":
            if call.training:
                raise not_covered(call.name, "random numbers drawn in training")
            mean = (float(known["lower"]) + float(known["upper"])) / 2
            return lambda x: np.where(x > 0, x, x * mean)
    return PARAMETRIC[_WITH_PARAMETERS[kind]](known)


def gated(call: LayerCall, place: Place) -> Account:
    """Return the account of a value of GLU: one half times the sigmoid of the other."""
    given, dtype = call.operand, call.dtype.type
    axis = int(call.arguments["dim"])
    axis = axis - 1 if axis > 0 else len(place) + axis
    other = tuple(
        at + given.values.shape[axis] // 2 * (number == axis) for number, at in enumerate(place)
    )
    entries = np.array([given.values[place], given.values[other]], np.float64)
    gate = float(FUNCTIONS["sigmoid"](entries[1:])[0])
    terms = table_of([given.label(place), given.label(other)], input=entries.astype(dtype))
    steps = [("sigmoid of the second", dtype(gate)), ("product", dtype(entries[0] * gate))]
    value = float(entries[0] * gate)
    return Account(terms, steps, value, abs(value) + abs(gate), 4, summed=False)
