"""The contract suite on an S3 server; which one, and with which options, a subclass says."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import pytest

from artifactstore.storage.s3 import S3Store
from artifactstore.testing.object_store import ObjectStoreContract
from tests.s3_servers import BUCKET, IN_PARTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from artifactstore.storage.port import ObjectKey, ObjectStore
    from tests.s3_servers import S3Server


class S3StoreContract(ObjectStoreContract):
    """What is large in the contract's tests goes up in parts."""

    server: S3Server
    options: ClassVar[dict[str, str]] = {}

    @pytest.fixture
    def store(self) -> S3Store:
        return self.server.new_store(**self.options, **IN_PARTS)

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
