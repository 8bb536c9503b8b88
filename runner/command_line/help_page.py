"""The page of ``python -m runner --help``."""

from __future__ import annotations

import textwrap

import yaml

from runner.command_line.commands import listed
from runner.config.packaged import CHOICES, CONFIG_DIRECTORY


def help_text() -> str:
    """Return the page, as Hydra shows it if no config changes it."""
    file = CONFIG_DIRECTORY / "hydra" / "help" / "runner.yaml"
    template = yaml.safe_load(file.read_text(encoding="utf-8"))["template"]
    return f"{filled_in(template)}\n"


def filled_in(template: str) -> str:
    """Fill in the names of commands, sources and formats."""
    for group in ("probe", "format"):
        names = textwrap.wrap(" ".join(CHOICES[group].own), 64)
        template = template.replace(f"{{{group}}}", f"\n{'':15}".join(names))
    return template.replace("{commands}", f"\n{'':2}".join(listed()))
