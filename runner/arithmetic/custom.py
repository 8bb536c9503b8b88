"""Accounts of custom layers and nested models, from the tensors inside them."""

from __future__ import annotations

import numpy as np

from runner.arithmetic.account import Account, not_covered, table_of
from runner.arithmetic.layer_call import LayerCall

Place = tuple[int, ...]

_BY_ENTRY = ("add", "divide", "maximum", "minimum", "multiply", "subtract", "where")


def custom_layer(call: LayerCall, place: Place) -> Account:
    """Return the account of a value of a custom layer, or of a model inside a model.

    The operands of the last operation are shown if it is elementwise; otherwise the whole
    formula is shown as one number.
    """
    tensor = call.run.tensor(call.name, "activation")
    derivation = call.wiring.derivations.get(tensor.output or "")
    if derivation is None:
        raise not_covered(
            call.name, f"{call.layer.layer_class} layers", "explain the layers inside it instead"
        )
    dtype = call.dtype.type
    whole = call.derived("output", derivation)
    value = float(whole.values[place])
    parts = derivation["of"] if derivation.get("operation") in _BY_ENTRY else [derivation]
    labels, entries = [], []
    for part in parts:
        operand = call.derived("output", part)
        at = tuple(
            0 if size == 1 else here
            for here, size in zip(
                place[len(place) - operand.values.ndim :], operand.values.shape, strict=True
            )
        )
        labels.append(operand.label(at))
        entries.append(float(operand.values[at]))
    name = str(derivation.get("operation", "output")) if len(parts) > 1 else "output"
    terms = table_of(labels, input=np.array(entries).astype(dtype))
    size = abs(value) + sum(map(abs, entries))
    return Account(terms, [(name, dtype(value))], value, size, 1, summed=name == "add")
