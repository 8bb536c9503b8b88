"""A new file in an object store, uploaded one part after another while it is written."""

from __future__ import annotations

import contextlib
import io
import queue
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from runner.stores.bucket import Bucket

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_PATIENCE = 0.5  # seconds between checks that the upload still runs


class _DiscardedError(Exception):
    """Raised to cancel an upload, which the store then forgets."""


class Upload(io.BufferedIOBase):
    """A new object: written in one request if it is small, in parts otherwise.

    The parts are sent by a thread of its own. The object appears when the file is closed.

    Parameters
    ----------
    bucket, key
        Where it is to appear.
    part
        Size of a part, in bytes.
    """

    def __init__(self, bucket: Bucket, key: str, part: int) -> None:
        self._bucket = bucket
        self._key = key
        self._part = part
        self._held: list[bytes] = []
        self._size = 0
        self._parts: queue.Queue[bytes | _DiscardedError | None] = queue.Queue(1)
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def writable(self) -> bool:
        """Return True, as every file that can be written does."""
        return True

    def write(self, data: ReadableBuffer) -> int:
        """Take bytes, and send them once they fill a part.

        Raises
        ------
        OSError
            If an earlier part could not be sent.
        """
        piece = bytes(data)
        self._held.append(piece)
        self._size += len(piece)
        if self._size >= self._part:
            self._send(b"".join(self._held))
            self._held, self._size = [], 0
        return len(piece)

    def close(self) -> None:
        """Send what is left, and wait until the object is there.

        Raises
        ------
        OSError
            If it could not be written.
        """
        if self.closed:
            return
        super().close()
        rest, self._held = b"".join(self._held), []
        if self._thread is None:
            self._bucket.put(self._key, rest)
            return
        if rest:
            self._send(rest)
        self._send(None)
        self._thread.join()
        self._check()

    def discard(self) -> None:
        """End the upload; the object does not appear, unless the file was closed before."""
        if self.closed:
            return
        super().close()
        self._held = []
        if self._thread is not None:
            with contextlib.suppress(OSError):
                self._send(_DiscardedError())
            self._thread.join()

    def _send(self, part: bytes | _DiscardedError | None) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="runner-upload", daemon=True)
            self._thread.start()
        while True:
            self._check()
            with contextlib.suppress(queue.Full):
                self._parts.put(part, timeout=_PATIENCE)
                return

    def _check(self) -> None:
        if self._error is not None and not isinstance(self._error, _DiscardedError):
            raise self._error

    def _run(self) -> None:
        try:
            self._bucket.stream(self._key, self._sent(), self._part)
        except BaseException as error:
            self._error = error

    def _sent(self) -> Iterator[bytes]:
        while (part := self._parts.get()) is not None:
            if isinstance(part, _DiscardedError):
                raise part
            yield part
