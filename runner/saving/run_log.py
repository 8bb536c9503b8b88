"""The log of a run."""

from __future__ import annotations

from datetime import datetime

from runner.record.header import Header


class RunLog:
    """The lines of ``run.log``, each with its time.

    Parameters
    ----------
    header
        The run's header, whose clock gives the times.
    """

    def __init__(self, header: Header) -> None:
        self._header = header
        self._lines: list[str] = []
        self._add(header.started, f"run {header.run_id} began")
        if header.own_build_because is not None:
            self.add(f"the model was built for this run: {header.own_build_because}")

    def add(self, what: str) -> None:
        """Add a line about something that has just happened."""
        self._add(self._header.now, what)

    def content(self) -> bytes:
        """Return the content of the file, without values of environment variables."""
        return self._header.variables.scrubbed("".join(self._lines)).encode()

    def _add(self, when: datetime, what: str) -> None:
        self._lines.append(f"{when.isoformat(timespec='milliseconds')} {what}\n")
