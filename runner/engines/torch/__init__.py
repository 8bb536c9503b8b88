"""The engine of PyTorch: runs a pass operation by operation."""

from runner.engines.plain_errors import index_outside, message_of
from runner.engines.torch.gradients import differentiated, shows_logits
from runner.engines.torch.noting import (
    before_casts,
    derivation,
    elementwise_sources,
    noting_origins,
)
from runner.engines.torch.passes import exact, lanes, trace, watching
from runner.engines.torch.resources import noting_changes, random_streams
from runner.engines.torch.settings import deterministic, read_settings, start
from runner.engines.torch.tensors import (
    as_array,
    as_tensor,
    is_floating,
    is_passed,
    is_tensor,
    shape_of,
    unfit,
)
from runner.engines.torch.variables import (
    is_variable,
    module_types,
    name_of,
    plain_types,
    plain_variables,
    unfit_weight,
    value_of,
    values_of,
    wrapped_by,
    wrapping_types,
)

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
