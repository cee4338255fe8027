"""What only the local store promises: syncs in the right order, foreign things under a key, errors of the system."""

from __future__ import annotations

import errno
import io
import os
import socket
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from artifactstore.errors import (
    ConfigurationError,
    ObjectNotFoundError,
    StorageDeniedError,
    StorageError,
    StorageFullError,
    StorageUnavailableError,
)
from artifactstore.storage.local import LocalStore
from artifactstore.storage.port import ObjectKind, PutOutcome
from artifactstore.testing.builders import key_of, put_bytes, some_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from artifactstore.storage.port import ObjectKey

DATA = b"what a run leaves behind"
KEY = key_of(DATA)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "objects"


@pytest.fixture
def store(root: Path) -> LocalStore:
    return LocalStore(root)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Every sync and link from now on, in order: (what, path)."""
    recorded: list[tuple[str, str]] = []
    real_fsync, real_link = os.fsync, os.link

    def fsync(descriptor: int) -> None:
        recorded.append(("sync", str(Path(f"/proc/self/fd/{descriptor}").readlink())))
        real_fsync(descriptor)

    def link(source: Path, target: Path, **_: object) -> None:
        recorded.append(("link", str(target)))
        real_link(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", link)
    return recorded


def put_data(store: LocalStore) -> PutOutcome:
    return store.put(KEY, io.BytesIO(DATA), len(DATA))


def fail_with(number: int) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def failing_sync(monkeypatch: pytest.MonkeyPatch, is_bad: Callable[[str], bool]) -> None:
    """Let the sync of certain paths fail, as on a failing disk."""
    real_fsync = os.fsync

    def fsync(descriptor: int) -> None:
        if is_bad(str(Path(f"/proc/self/fd/{descriptor}").readlink())):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real_fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def staged(root: Path) -> list[Path]:
    return list((root / "staging").glob("*"))


def quarantined(root: Path) -> list[Path]:
    return list((root / "quarantine").glob("*"))


def take_key(root: Path, key: ObjectKey = KEY) -> Path:
    """The path of a key, its directory made, for something foreign to stand there."""
    path = root / key.path
    path.parent.mkdir(parents=True)
    return path


# durability


def test_file_is_synced_before_it_is_linked(store: LocalStore, calls: list[tuple[str, str]]) -> None:
    put_data(store)

    steps = [what for what, path in calls if "staging/" in path or what == "link"]
    assert steps == ["sync", "link"]


def test_directory_of_the_object_is_synced_after_the_link(
    store: LocalStore, root: Path, calls: list[tuple[str, str]]
) -> None:
    put_data(store)

    assert calls[-2:] == [("link", str(root / KEY.path)), ("sync", str((root / KEY.path).parent))]


def test_parent_of_every_new_directory_is_synced_before_the_link(
    store: LocalStore, root: Path, calls: list[tuple[str, str]]
) -> None:
    put_data(store)

    before_link = {path for what, path in calls[: calls.index(("link", str(root / KEY.path)))] if what == "sync"}
    new_directories = [folder for folder in (root / KEY.path).parents if folder.is_relative_to(root)]
    assert {str(folder.parent) for folder in new_directories} <= before_link


def test_present_object_has_its_directory_synced_before_it_is_reported(
    store: LocalStore, root: Path, calls: list[tuple[str, str]]
) -> None:
    put_data(store)
    calls.clear()

    put_data(store)

    assert calls[-1] == ("sync", str((root / KEY.path).parent))


def test_directories_that_another_process_made_are_synced_once(
    store: LocalStore, root: Path, calls: list[tuple[str, str]]
) -> None:
    put_data(LocalStore(root))
    calls.clear()

    put_data(store)
    first = [path for what, path in calls if what == "sync"]
    calls.clear()
    put_data(store)
    second = [path for what, path in calls if what == "sync"]

    folder = (root / KEY.path).parent
    assert set(map(str, [root, root / "blobs", root / "blobs/blake3", folder.parent])) <= set(first)
    assert [path for path in second if "staging/" not in path] == [str(folder)]


def test_put_into_a_known_directory_costs_two_syncs(
    store: LocalStore, root: Path, calls: list[tuple[str, str]]
) -> None:
    put_data(store)
    store.delete(KEY)
    calls.clear()

    put_data(store)

    assert [what for what, _ in calls] == ["sync", "link", "sync"]


def test_delete_syncs_the_directory(store: LocalStore, root: Path, calls: list[tuple[str, str]]) -> None:
    put_data(store)
    calls.clear()

    store.delete(KEY)

    assert calls == [("sync", str((root / KEY.path).parent))]


def test_quarantine_syncs_both_directories(store: LocalStore, root: Path, calls: list[tuple[str, str]]) -> None:
    put_data(store)
    calls.clear()

    store.quarantine(KEY)

    assert calls[-2:] == [("sync", str(root / "quarantine")), ("sync", str((root / KEY.path).parent))]


def test_quarantined_bytes_are_kept(store: LocalStore, root: Path) -> None:
    put_data(store)

    store.quarantine(KEY)

    assert [path.read_bytes() for path in quarantined(root)] == [DATA]


@pytest.mark.parametrize(
    "is_bad",
    [
        pytest.param(lambda path: "staging/" in path, id="of-the-file"),
        pytest.param(lambda path: path.endswith(KEY.digest.hex()[2:4]), id="of-its-directory"),
        pytest.param(lambda path: path.endswith("blobs/blake3"), id="of-a-new-directorys-parent"),
    ],
)
def test_failed_sync_throws_the_file_away(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch, is_bad: Callable[[str], bool]
) -> None:
    failing_sync(monkeypatch, is_bad)

    with pytest.raises(StorageError) as caught:
        put_data(store)

    assert (caught.value.code, caught.value.retryable) == ("STORAGE_FAILED", False)
    assert ((root / KEY.path).exists(), staged(root)) == (False, [])


def test_directory_whose_sync_failed_is_made_and_synced_anew(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch, calls: list[tuple[str, str]]
) -> None:
    with monkeypatch.context() as disk:
        failing_sync(disk, lambda path: path.endswith("blobs/blake3"))
        with pytest.raises(StorageError):
            put_data(store)
    assert not (root / "blobs/blake3" / KEY.digest.hex()[:2]).exists()
    calls.clear()

    put_data(store)

    assert ("sync", str(root / "blobs/blake3")) in calls


def test_put_works_again_after_a_failed_sync(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as disk:
        failing_sync(disk, lambda path: "staging/" in path)
        with pytest.raises(StorageError):
            put_data(store)

    assert (put_data(store), store.read(KEY)) == (PutOutcome.CREATED, DATA)


def test_committed_files_are_read_only(store: LocalStore, root: Path) -> None:
    put_data(store)

    assert stat.S_IMODE((root / KEY.path).stat().st_mode) & 0o222 == 0


def test_committed_file_has_one_name(store: LocalStore, root: Path) -> None:
    put_data(store)

    assert ((root / KEY.path).stat().st_nlink, staged(root)) == (1, [])


# something foreign under the key


def plant_short_file(path: Path) -> None:
    path.write_bytes(DATA[:-1])


def plant_long_file(path: Path) -> None:
    path.write_bytes(DATA + b"!")


def plant_directory(path: Path) -> None:
    path.mkdir()
    (path / "inside").write_bytes(DATA)


def plant_link_to_the_bytes(path: Path) -> None:
    elsewhere = path.parent / "elsewhere"
    elsewhere.write_bytes(DATA)
    path.symlink_to(elsewhere)


def plant_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


def plant_fifo(path: Path) -> None:
    os.mkfifo(path)


def plant_socket(path: Path) -> None:
    previous = os.open(".", os.O_RDONLY)
    os.chdir(path.parent)  # a socket's address is at most 107 bytes long
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    finally:
        os.fchdir(previous)
        os.close(previous)


NOT_FILES = [plant_directory, plant_link_to_the_bytes, plant_dangling_link, plant_fifo, plant_socket]


@pytest.mark.parametrize("hard_links", [True, False], ids=["hard-links", "no-hard-links"])
@pytest.mark.parametrize("plant", [plant_short_file, plant_long_file, *NOT_FILES])
def test_put_sets_aside_what_cannot_be_the_object(
    store: LocalStore,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    plant: Callable[[Path], None],
    hard_links: bool,
) -> None:
    plant(take_key(root))
    if not hard_links:
        monkeypatch.setattr(os, "link", fail_with(errno.EPERM))

    outcome = put_data(store)

    assert (outcome, store.read(KEY), len(quarantined(root))) == (PutOutcome.CREATED, DATA, 1)


def test_eight_threads_that_find_something_foreign_all_store_the_object(store: LocalStore, root: Path) -> None:
    plant_short_file(take_key(root))

    with ThreadPoolExecutor(8) as pool:
        outcomes = [future.result() for future in [pool.submit(put_data, store) for _ in range(8)]]

    assert (PutOutcome.CREATED in outcomes, store.read(KEY), staged(root)) == (True, DATA, [])


@pytest.mark.parametrize("plant", NOT_FILES)
@pytest.mark.parametrize("read", [LocalStore.size, LocalStore.read], ids=["size", "read"])
def test_what_is_not_a_file_is_not_an_object(
    store: LocalStore, root: Path, plant: Callable[[Path], None], read: Callable[[LocalStore, ObjectKey], object]
) -> None:
    plant(take_key(root))

    with pytest.raises(ObjectNotFoundError):
        read(store, KEY)


@pytest.mark.parametrize("plant", NOT_FILES)
def test_what_is_not_a_file_is_not_listed(store: LocalStore, root: Path, plant: Callable[[Path], None]) -> None:
    plant(take_key(root))

    assert list(store.list(ObjectKind.BLOB)) == []


@pytest.mark.parametrize("name", ["README", KEY.digest.hex().upper(), KEY.digest.hex() + ".zip", "ab"])
def test_file_that_is_not_named_as_an_object_is_not_listed(store: LocalStore, root: Path, name: str) -> None:
    put_data(store)
    (root / KEY.path).with_name(name).write_bytes(b"foreign")

    assert [info.key for info in store.list(ObjectKind.BLOB)] == [KEY]


def test_object_in_another_ones_directory_is_not_listed(store: LocalStore, root: Path) -> None:
    other = key_of(b"another")
    put_data(store)
    (root / KEY.path).with_name(other.digest.hex()).write_bytes(b"another")

    assert [info.key for info in store.list(ObjectKind.BLOB)] == [KEY]


def test_file_where_a_directory_belongs_is_a_storage_error(store: LocalStore, root: Path) -> None:
    (root / "blobs").mkdir(parents=True)
    (root / "blobs/blake3").write_bytes(b"in the way")

    with pytest.raises(StorageError):
        put_data(store)

    assert staged(root) == []


def test_object_that_vanishes_while_its_name_is_looked_at_is_put_afresh(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_data(store)
    real_link = os.link

    def link(source: Path, target: Path, **_: object) -> None:
        try:
            real_link(source, target)
        except FileExistsError:
            target.unlink()  # another process deletes it at this moment
            raise

    monkeypatch.setattr(os, "link", link)

    assert (put_data(store), store.read(KEY)) == (PutOutcome.CREATED, DATA)


# errors of the system


def test_full_disk_is_named_and_leaves_nothing(store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = some_bytes(3 * 1024 * 1024)
    room = 1_500_000
    real_write = os.write

    def write(descriptor: int, piece: memoryview) -> int:
        nonlocal room
        if room <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = real_write(descriptor, piece[:room])
        room -= written
        return written

    monkeypatch.setattr(os, "write", write)

    with pytest.raises(StorageFullError) as caught:
        put_bytes(store, data)

    assert caught.value.__cause__ is not None
    assert ((root / key_of(data).path).exists(), staged(root)) == (False, [])


def test_short_writes_are_continued(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    real_write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, piece: real_write(descriptor, piece[:5]))

    put_data(store)

    assert store.read(KEY) == DATA


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, StorageFullError),
        (errno.EDQUOT, StorageFullError),
        (errno.EROFS, StorageDeniedError),
        (errno.EMFILE, StorageUnavailableError),
        (errno.ESTALE, StorageUnavailableError),
        (errno.EIO, StorageError),
    ],
    ids=errno.errorcode.get,
)
def test_errors_of_the_system_leave_as_ours(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch, number: int, expected: type[StorageError]
) -> None:
    monkeypatch.setattr(os, "link", fail_with(number))

    with pytest.raises(StorageError) as caught:
        put_data(store)

    assert (type(caught.value), staged(root)) == (expected, [])


def test_object_without_permission_is_denied(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    put_data(store)
    monkeypatch.setattr(os, "open", fail_with(errno.EACCES))

    with pytest.raises(StorageDeniedError):
        store.read(KEY)


def test_directory_without_permission_is_denied_when_listed(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    put_data(store)
    monkeypatch.setattr(os, "scandir", fail_with(errno.EACCES))

    with pytest.raises(StorageDeniedError):
        list(store.list(ObjectKind.BLOB))


def test_failed_read_is_a_storage_error(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    put_data(store)

    class BadFile(io.RawIOBase):
        seek = read = fail_with(errno.EIO)

    with store.open(KEY) as stream:
        monkeypatch.setattr(stream, "_file", BadFile())

        with pytest.raises(StorageError):
            stream.read(10)


def test_stage_that_cannot_be_removed_does_not_hide_what_went_wrong(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "write", fail_with(errno.ENOSPC))
    monkeypatch.setattr("pathlib.Path.unlink", fail_with(errno.EROFS))

    with pytest.raises(StorageFullError):
        put_data(store)


def test_no_descriptor_is_left_open(store: LocalStore, root: Path) -> None:
    plant_directory(take_key(root, key_of(b"foreign")))
    before = open_descriptors()

    put_data(store)
    put_data(store)
    store.read(KEY, 3, 4)
    list(store.list(ObjectKind.BLOB))
    for key in (key_of(b"foreign"), key_of(b"missing")):
        with pytest.raises(ObjectNotFoundError):
            store.read(key)

    assert open_descriptors() == before


def test_object_that_shrinks_while_it_is_read_ends_early(store: LocalStore, root: Path) -> None:
    data = some_bytes(1024 * 1024)
    key = put_bytes(store, data)

    (root / key.path).chmod(0o600)

    with store.open(key) as stream:
        os.truncate(root / key.path, 1000)
        found = stream.read()

    assert found == data[:1000]


# URLs


def test_url_names_the_directory(tmp_path: Path) -> None:
    store = LocalStore.from_url(f"file://{tmp_path}/a%20store", {})

    put_data(store)

    assert (tmp_path / "a store" / KEY.path).exists()


@pytest.mark.parametrize("url", ["file://host/path", "file:relative", "file://", "file:///a?b=c", "file:///a#b"])
def test_url_that_is_not_a_local_directory_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        LocalStore.from_url(url, {})
