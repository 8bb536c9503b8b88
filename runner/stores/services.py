"""The services that hold buckets, by the schemes of their URLs: how each is reached."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from runner.errors import InputError
from runner.stores.store_errors import plainly

EXTRA = "[stores]"
"""What installs the clients of the services."""

# Requests to a server that fails are repeated for some seconds; a silent server is given up.
_RETRIES: dict[str, Any] = {
    "max_retries": 4,
    "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=2)},
    "retry_timeout": timedelta(seconds=60),
}
_TIMEOUTS = {"connect_timeout": timedelta(seconds=10), "timeout": timedelta(seconds=120)}


class Service:
    """A service that obstore reaches by a URL, with credentials from the usual places.

    Parameters
    ----------
    endpoints
        Variables of the environment that name another server than the service's own, as its own
        tools have them.
    has_accounts
        Whether an account may stand behind a bucket: ``container@account``.
    """

    lasts = True
    """Whether it still holds its objects when this process has ended."""

    _endpoint_option = "endpoint"

    def __init__(self, *endpoints: str, has_accounts: bool = False) -> None:
        self._endpoints = endpoints
        self.has_accounts = has_accounts

    @property
    def endpoint(self) -> str | None:
        """The server that the environment names; ``None``: the service's own."""
        return next(filter(None, map(os.environ.get, self._endpoints)), None)

    def store(self, root: str) -> Any:
        """Return obstore's store of a bucket, which its URL names."""
        from obstore import store

        options: dict[str, Any] = {"retry_config": _RETRIES, "client_options": {**_TIMEOUTS}}
        if self.endpoint is not None:
            options[self._endpoint_option] = self.endpoint
            options["client_options"]["allow_http"] = self.endpoint.startswith("http://")
        return store.from_url(root, **options, **self._options())

    def _options(self) -> dict[str, Any]:
        """Return what obstore is told besides."""
        return {}

    def uploads(self, bucket: str, prefix: str) -> dict[str, Callable[[], None]]:  # noqa: ARG002
        """Return the unfinished uploads below a prefix, each with a function that removes it.

        Only S3 lists them: Azure removes them itself, and Google's are removed by a rule of
        the bucket.
        """
        return {}

    def listed(self, bucket: str, prefix: str) -> Iterator[dict[str, Any]] | None:  # noqa: ARG002
        """Return what boto3 says of the objects below a prefix; ``None`` if it is no S3.

        Unlike obstore, it also lists objects whose names are no paths.
        """
        return None


class _S3(Service):
    """Amazon's service, and servers like it: boto3 finds the credentials."""

    def _options(self) -> dict[str, Any]:
        try:
            session = _boto3().Session()
        except ModuleNotFoundError as error:
            raise InputError.missing("s3://", "needs boto3", EXTRA) from error
        options: dict[str, Any] = {"region": session.region_name or "us-east-1"}
        if os.environ.get("AWS_SKIP_SIGNATURE"):  # a public bucket
            return options | {"skip_signature": True}
        from obstore.auth.boto3 import Boto3CredentialProvider

        if session.get_credentials() is None:
            raise PermissionError(
                errno.EACCES, "there are no credentials, in the environment or a profile"
            )
        return options | {"credential_provider": Boto3CredentialProvider(session)}

    def uploads(self, bucket: str, prefix: str) -> dict[str, Callable[[], None]]:
        client = _boto3().Session().client("s3", endpoint_url=self.endpoint)
        pages = client.get_paginator("list_multipart_uploads").paginate(
            Bucket=bucket, Prefix=prefix
        )

        def removing(upload: dict[str, Any]) -> Callable[[], None]:
            def remove() -> None:
                with plainly(), contextlib.suppress(client.exceptions.NoSuchUpload):
                    client.abort_multipart_upload(
                        Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                    )

            return remove

        found = [upload for page in pages for upload in page.get("Uploads", ())]
        return {f"{each['Key']}#{each['UploadId']}": removing(each) for each in found}

    def listed(self, bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
        client = _boto3().Session().client("s3", endpoint_url=self.endpoint)
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return (each for page in pages for each in page.get("Contents", ()))


class _Google(Service):
    """Google's service, or an emulator of it, which takes every credential."""

    _endpoint_option = "base_url"

    def _options(self) -> dict[str, Any]:
        if self.endpoint is None:
            return {}
        return {"credential_provider": lambda: {"token": "emulated", "expires_at": None}}


class _Memory(Service):
    """Objects in the memory of this process."""

    lasts = False

    def store(self, root: str) -> Any:  # noqa: ARG002
        from obstore import store

        return store.MemoryStore()


def _boto3() -> Any:
    import boto3

    return boto3


SERVICES = {
    "s3": _S3("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    "gs": _Google("STORAGE_EMULATOR_HOST"),
    "az": Service("AZURE_STORAGE_ENDPOINT"),
    "abfs": Service("AZURE_STORAGE_ENDPOINT", has_accounts=True),
    "abfss": Service("AZURE_STORAGE_ENDPOINT", has_accounts=True),
    "memory": _Memory(),
}
"""The services by the schemes of their URLs."""
