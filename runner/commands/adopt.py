"""The command that makes a run of tensors from elsewhere."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from runner.command_line.command import Command
from runner.command_line.messages import put


def _adopt(arguments: Namespace) -> None:
    """Make a run of the tensors in files, to compare them with those of other runs."""
    from runner.api import adopt_run
    from runner.converted_models.tensor_files import read_ids, read_tensors
    from runner.local_paths import local_path
    from runner.sameness.repetition import new_folder
    from runner.screen.show import show
    from runner.store_urls import runs_place

    tensors, ids = read_tensors(arguments.files)
    if arguments.ids is not None:
        ids = read_ids(local_path(arguments.ids, "--ids"))
    folder = arguments.output and runs_place(arguments.output, "--output")
    run = adopt_run(folder or new_folder(), tensors, sample_ids=ids, name=arguments.name)
    put(show(run))


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("files", metavar="FILES", nargs="+", type=Path,
                        help="files of tensors, or folders of them")  # fmt: skip
    parser.add_argument("--ids", type=Path, metavar="FILE", help="sample ids, one in a line")
    parser.add_argument("--name", metavar="NAME", help="name of the run")
    parser.add_argument("--output", metavar="DIR", help="folder of the run")


ADOPT = Command(_adopt, _arguments, about="make a run of tensors from elsewhere",
                usage="FILES", order=55)  # fmt: skip
