"""The engine of JAX: compiles a pass with XLA, and differentiates it as a function."""

from runner.engines.jax.derivations import before_casts, derivation, elementwise_sources
from runner.engines.jax.gradients import differentiated, shows_logits
from runner.engines.jax.settings import deterministic, read_settings, start
from runner.engines.jax.tensors import (
    as_array,
    as_tensor,
    is_floating,
    is_passed,
    is_tensor,
    shape_of,
    unfit,
)
from runner.engines.jax.tracing import exact, lanes, noting_origins, trace, watching
from runner.engines.jax.variables import (
    is_variable,
    module_types,
    name_of,
    noting_changes,
    plain_types,
    plain_variables,
    random_streams,
    unfit_weight,
    value_of,
    values_of,
    wrapped_by,
    wrapping_types,
)
from runner.engines.plain_errors import index_outside, message_of

__all__ = [
    "as_array",
    "as_tensor",
    "before_casts",
    "derivation",
    "deterministic",
    "differentiated",
    "elementwise_sources",
    "exact",
    "index_outside",
    "is_floating",
    "is_passed",
    "is_tensor",
    "is_variable",
    "lanes",
    "message_of",
    "module_types",
    "name_of",
    "noting_changes",
    "noting_origins",
    "plain_types",
    "plain_variables",
    "random_streams",
    "read_settings",
    "shape_of",
    "shows_logits",
    "start",
    "trace",
    "unfit",
    "unfit_weight",
    "value_of",
    "values_of",
    "watching",
    "wrapped_by",
    "wrapping_types",
]
