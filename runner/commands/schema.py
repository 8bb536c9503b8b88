"""The command that writes the schema of configurations."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from runner.command_line.command import Command
from runner.command_line.messages import written_to


def _schema(arguments: Namespace) -> None:
    """Write the JSON schema with which editors complete and check configurations."""
    from runner.config import schema

    text = json.dumps(schema.json_schema(), indent=2) + "\n"
    if arguments.output is None:
        sys.stdout.write(text)
        return
    with written_to(arguments.output) as file:
        file.write(text)


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--output", type=Path, metavar="FILE",
                        help="file to write (default: standard output)")  # fmt: skip


SCHEMA = Command(_schema, _arguments, about="write a JSON schema, for editors", order=90)
