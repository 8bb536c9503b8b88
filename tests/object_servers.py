"""Servers of objects on loopback, and a proxy before one that counts, cuts and refuses."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import re
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

_HEAD = re.compile(rb"(GET|PUT|POST|HEAD|DELETE) (\S+) HTTP/1\.1\r\n")
_ENTRY = re.compile(rb"<(Contents|CommonPrefixes)>\s*<(?:Key|Prefix)>([^<]*)</.*?</\1>", re.DOTALL)
_OF_GOOGLE = {
    b"x-goog-if-generation-match: 0\r\n": b"if-none-match: *\r\n",
    b"x-goog-copy-source: ": b"x-amz-copy-source: ",
}
"""What Google's interface has in the place of headers of Amazon's, which it is like otherwise."""


class Proxy:
    """A TCP proxy before a server on loopback.

    It makes a server of Google's interface of one of Amazon's.

    Attributes
    ----------
    requests
        Method and path of each request that was seen.
    fetched
        Bytes that the server has sent.
    verdict
        Called with the method and path of each request: ``cut`` closes the connection, ``500``
        answers in the server's place, anything else lets the request pass.
    loses_answer
        Called likewise: whether the server gets the request, and its answer is cut.
    unlisted
        Called with each key, or place, in a listing of a bucket: whether it is left out.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self.requests: list[tuple[str, str]] = []
        self.fetched = 0
        self.verdict: Callable[[str, str], str] = lambda *_: ""
        self.loses_answer: Callable[[str, str], bool] = lambda *_: False
        self.unlisted: Callable[[str], bool] | None = None
        self._lost: set[socket.socket] = set()
        self._listing: set[socket.socket] = set()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._connections: list[socket.socket] = []
        self._start(self._accept)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # ends `accept`, which `close` does not
        self._socket.close()
        for connection in [*self._connections]:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in [*self._threads]:
            thread.join()

    def _start(self, target: Callable[..., None], *arguments: socket.socket) -> threading.Thread:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        thread.start()
        self._threads.append(thread)
        return thread

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._start(self._serve, self._socket.accept()[0])

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._port)) as server:
            self._connections += [client, server]
            down = self._start(self._down, client, server)
            self._up(client, server)
            down.join()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 16):
                for method, path in _HEAD.findall(data):
                    self.requests.append((method.decode(), path.decode()))
                    verdict = self.verdict(*self.requests[-1])
                    if self.loses_answer(*self.requests[-1]):
                        self._lost.add(client)
                    if self.unlisted and method == b"GET" and b"list-type=2" in path:
                        self._listing.add(client)
                    if verdict == "500":
                        client.sendall(
                            b"HTTP/1.1 500 Internal Server Error\r\n"
                            b"Content-Length: 0\r\nConnection: close\r\n\r\n"
                        )
                    if verdict:
                        client.shutdown(socket.SHUT_RDWR)
                        return
                for header, of_amazon in _OF_GOOGLE.items():
                    data = data.replace(header, of_amazon)
                server.sendall(data)
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)

    def _down(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            held = b""
            while data := server.recv(1 << 16):
                if client in self._lost:
                    break
                self.fetched += len(data)
                if client in self._listing:
                    held += data
                    data = self._without_unlisted(held)
                    if not data:
                        continue
                    held = b""
                    self._listing.discard(client)
                client.sendall(data)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)

    def _without_unlisted(self, answer: bytes) -> bytes:
        """Return a listing in which spaces stand for some entries; nothing until it is whole."""
        head, _, body = answer.partition(b"\r\n\r\n")
        size = re.search(rb"(?i)content-length: (\d+)", head)
        if size is None or len(body) < int(size[1]):
            return b""

        def shown(entry: re.Match[bytes]) -> bytes:
            is_left_out = self.unlisted and self.unlisted(entry[2].decode())
            return b" " * len(entry[0]) if is_left_out else entry[0]

        return _ENTRY.sub(shown, answer)


@contextlib.contextmanager
def moto_server() -> Iterator[int]:
    """Run moto's S3 server in this process, without what an earlier one held; yield its port."""
    import logging

    from moto.s3.models import s3_backends
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    s3_backends.reset()
    try:
        yield server.get_host_and_port()[1]
    finally:
        server.stop()


def client_of(port: int) -> Any:
    """Return Amazon's own client of a server."""
    import boto3

    return boto3.Session().client("s3", endpoint_url=f"http://127.0.0.1:{port}")


def keys(s3: Any) -> list[str]:
    """Return the keys of all objects in the bucket of the tests."""
    return [each["Key"] for each in s3.list_objects_v2(Bucket="bucket").get("Contents", ())]


def settings_of(port: int, cache: Path) -> dict[str, str]:
    """Return the variables of the environment with which runs are kept on a server."""
    return {
        "AWS_ACCESS_KEY_ID": "the-key",
        "AWS_SECRET_ACCESS_KEY": "the-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(cache / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(cache / "none"),
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "RUNNER_CACHE": str(cache),
    }


@contextlib.contextmanager
def command_server(*words: str) -> Iterator[int]:
    """Run another server, whose last word names its port, until it answers; yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    server = subprocess.Popen(
        [*words, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.1)
        yield port
    finally:
        server.terminate()
        server.wait()


_AZURE_KEY = (  # of every emulator, and no secret
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)


@contextlib.contextmanager
def azure_store() -> Iterator[dict[str, str]]:
    """Run Azurite with an empty container ``bucket``; yield the environment that reaches it."""
    words = "azurite-blob", "--inMemoryPersistence", "--skipApiVersionCheck", "--silent"
    with command_server(*words, "--disableTelemetry", "--blobPort") as port:
        _make_container(port, "bucket")
        yield {
            "AZURE_STORAGE_ACCOUNT_NAME": "devstoreaccount1",
            "AZURE_STORAGE_ACCOUNT_KEY": _AZURE_KEY,
            "AZURE_STORAGE_ENDPOINT": f"http://127.0.0.1:{port}/devstoreaccount1",
        }


def _make_container(port: int, name: str) -> None:
    """Make a container of Azure's emulator, by a request signed as Azure documents it."""
    account, date = "devstoreaccount1", formatdate(usegmt=True)
    signed = "\n".join(
        [
            "PUT", *[""] * 11, f"x-ms-date:{date}", "x-ms-version:2021-08-06",
            f"/{account}/{account}/{name}", "restype:container",
        ]
    )  # fmt: skip
    key = hmac.new(base64.b64decode(_AZURE_KEY), signed.encode(), hashlib.sha256)
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/{account}/{name}?restype=container",
        method="PUT",
        headers={
            "x-ms-date": date,
            "x-ms-version": "2021-08-06",
            "Authorization": f"SharedKey {account}:{base64.b64encode(key.digest()).decode()}",
        },
    )
    with urllib.request.urlopen(request):
        pass
