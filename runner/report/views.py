"""All views of the report by name: those of `runner.views`, and of other packages."""

from __future__ import annotations

from runner.registry import Registry
from runner.report.view import View

VIEWS: Registry[View] = Registry("runner.views", "view", lambda value: isinstance(value, View))
"""All views, in the order in which they stand on a page."""
