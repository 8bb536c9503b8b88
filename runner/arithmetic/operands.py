"""The operands of an operation of ``keras.ops``, including constants."""

from __future__ import annotations

import re

import numpy as np

from runner.arithmetic.account import not_covered
from runner.arithmetic.layer_call import LayerCall, Operand
from runner.errors import InputError

_OPERAND = re.compile(r"condition|x\d?|argument\d")  # sorted names are in argument order


def mixing(call: LayerCall) -> InputError:
    """Return the error for an operation whose values depend on other samples."""
    return not_covered(call.name, "operations that mix the samples of a batch")


def given_to(call: LayerCall) -> list[Operand]:
    """Return an operation's operands, including constants, in the order of its arguments."""
    given = {one.argument: one for one in call.operands}
    for argument, value in call.wiring.settings.items():
        if not _OPERAND.fullmatch(argument):
            continue
        if isinstance(value, dict):
            what = f"constants of shape {value.get('shape')}, which a run does not keep,"
            raise not_covered(call.name, what)
        values = np.asarray(value)
        if values.dtype.kind not in "biuf":  # integers of any size could take forever
            raise not_covered(call.name, "constants that are no numbers of TensorFlow")
        given[argument] = Operand(argument, "", values)
    return [given[argument] for argument in sorted(given)]
