"""The S3 store keeps the contract on a server that honours conditional writes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

from artifactstore.storage.s3 import S3Store
from artifactstore.testing.object_store import ObjectStoreContract
from tests.s3_servers import BUCKET, IN_PARTS, S3Server, aws_environment, moto  # noqa: F401 - fixtures

if TYPE_CHECKING:
    from collections.abc import Callable

    from artifactstore.storage.port import ObjectKey, ObjectStore


class TestS3StoreOnMoto(ObjectStoreContract):
    """What is large in the contract's tests goes up in parts."""

    @pytest.fixture(autouse=True)
    def at(self, moto: S3Server) -> None:  # noqa: F811 - the fixture that is imported
        self.server = moto

    @pytest.fixture
    def store(self) -> S3Store:
        return self.server.new_store(**IN_PARTS)

    def stored_bytes(self, store: S3Store, key: ObjectKey) -> bytes | None:
        return self.server.stored_bytes(store, key)

    def replace_bytes(self, store: S3Store, key: ObjectKey, data: bytes) -> None:
        self.server.replace_bytes(store, key, data)

    def leftovers(self, store: S3Store) -> list[str]:
        return self.server.unfinished_uploads(store)

    def opener(self, store: S3Store) -> Callable[[], ObjectStore]:
        return partial(S3Store.from_url, f"s3://{BUCKET}/{store._bucket.prefix}", self.server.options())

    def broken(self, store: S3Store) -> S3Store:
        return S3Store(replace(store._bucket, name="no-such-bucket"))
