"""``python -m runner``."""

import os
import sys


def _forget_working_directory() -> None:
    """Undo that ``python -m`` looks for modules in the working directory before all else.

    A file of someone else may be named there like a module that is imported later. The folder
    stays if Runner itself was found in it.
    """
    try:
        folder = os.getcwd()  # noqa: PTH109 (pathlib may be such a file)
    except OSError:  # it was deleted
        return
    is_own = __file__ == os.path.join(folder, "runner", "__main__.py")  # noqa: PTH118
    if sys.path[0] == folder and not (sys.flags.safe_path or is_own):
        del sys.path[0]


_forget_working_directory()

from runner.command_line.entry import script  # noqa: E402 (not before)

script()
