"""The local store keeps the contract, with hard links and without."""

from __future__ import annotations

import errno
import os
from functools import partial
from typing import TYPE_CHECKING

import pytest

from artifactstore.storage.local import LocalStore
from artifactstore.testing.object_store import ObjectStoreContract

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from artifactstore.storage.port import ObjectKey, ObjectStore


class TestLocalStore(ObjectStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> LocalStore:
        return LocalStore(tmp_path / "objects")

    def stored_bytes(self, store: LocalStore, key: ObjectKey) -> bytes | None:
        path = store._root / key.path
        return path.read_bytes() if path.exists() else None

    def replace_bytes(self, store: LocalStore, key: ObjectKey, data: bytes) -> None:
        path = store._root / key.path
        path.chmod(0o600)
        path.write_bytes(data)

    def leftovers(self, store: LocalStore) -> list[str]:
        return [path.name for path in (store._root / "staging").glob("*")]

    def opener(self, store: LocalStore) -> Callable[[], ObjectStore]:
        return partial(LocalStore, store._root)

    def broken(self, store: LocalStore) -> LocalStore:
        store._root.write_text("a file where the directory should be")
        return store


class TestLocalStoreWithoutHardLinks(TestLocalStore):
    """As on file systems that have none."""

    @pytest.fixture(autouse=True)
    def no_hard_links(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def link(source: Path, target: Path, **_: object) -> None:
            if os.path.lexists(target):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))  # what Linux answers first
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

        monkeypatch.setattr(os, "link", link)
