"""The error for an unknown tensor name."""

from __future__ import annotations

from runner.errors import InputError, some, suggest
from runner.record.record import RunRecord
from runner.tensors import Kind


class UnknownTensorError(InputError, KeyError):
    """Raised for a name that no tensor of a run has."""

    __str__ = Exception.__str__  # KeyError.__str__ would quote the message

    @classmethod
    def asked(cls, record: RunRecord, name: str, kind: Kind | None) -> InputError:
        """Return the error for a name, with the reason or a suggestion."""
        place = f"run {record.run_id}"
        if record.error is not None:
            return cls.of(place, f"has no '{name}', since it failed: {record.error}")
        what = f"no {kind or 'tensor'} '{name}'"
        layer = next((layer for layer in record.layers if layer.path == name), None)
        why = layer and (layer.no_gradient if kind == "gradient" else layer.reason)
        if why:
            return cls.of(place, f"{what}: {why.removeprefix('no gradient: ')}")
        known = [
            tensor.name
            for tensor in (record.tensors if layer is None else layer.tensors)
            if kind in (tensor.kind, None)
        ]
        if layer is not None:
            return cls.of(place, what, f"this layer has {', '.join(known) or 'none'}")
        if not known:
            kinds = [*dict.fromkeys(tensor.kind for tensor in record.tensors), kind]
            advice = f"to keep them: capture.kinds=[{','.join(map(str, kinds))}]" if kind else ""
            return cls.of(place, f"{what}: the run holds no {kind or 'tensor'}s", advice)
        return cls.of(place, what, suggest(name, known) or f"there are {some(known)}")
