"""The contract of the object-store port, as tests that every adapter inherits.

An adapter's tests subclass ``ObjectStoreContract`` and give it a store and a way past it::

    class TestMyStore(ObjectStoreContract):
        @pytest.fixture
        def store(self, tmp_path):
            return MyStore(tmp_path)

        def stored_bytes(self, store, key): ...

        def replace_bytes(self, store, key, data): ...

What is stored is read and damaged past the store, so that a store cannot hide its own mistakes. Every test is a promise
of ``artifactstore.storage.port``.
"""

# ruff: noqa: ARG002, D102 - a test's name is its sentence, and a hook's arguments are for those who override it

from __future__ import annotations

import io
import multiprocessing
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar, cast

import pytest
from blake3 import blake3

from artifactstore.domain.hashing import BlobHasher, measure
from artifactstore.domain.instant import system_clock
from artifactstore.errors import DigestMismatchError, ObjectNotFoundError, RangeInvalidError, StorageError
from artifactstore.storage.port import ObjectInfo, ObjectKey, ObjectKind, PutOutcome, StrayKind
from artifactstore.testing.builders import key_of, put_bytes, some_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from artifactstore.storage.port import ObjectStore

T = TypeVar("T")

MEBIBYTE = 1024 * 1024
DATA = b"what a run leaves behind"
KINDS = list(ObjectKind)


class ObjectStoreContract:
    """Subclass it, provide the fixture ``store``, and override the hooks."""

    # what an adapter's tests provide

    @pytest.fixture
    def store(self) -> ObjectStore | Iterator[ObjectStore]:
        """An empty store, one for each test."""
        raise NotImplementedError

    def stored_bytes(self, store: ObjectStore, key: ObjectKey) -> bytes | None:
        """What the backend holds under the key, read past the store; None for nothing."""
        raise NotImplementedError

    def replace_bytes(self, store: ObjectStore, key: ObjectKey, data: bytes) -> None:
        """Put other bytes under a key that is taken, past the store, as damage does."""
        raise NotImplementedError

    def leftovers(self, store: ObjectStore) -> list[str]:
        """Whatever the backend keeps of objects that were never published: staged files, unfinished uploads."""
        return []

    def opener(self, store: ObjectStore) -> Callable[[], ObjectStore] | None:
        """A picklable function that opens the same backend in another process; None where there is no such thing."""
        return None

    def broken(self, store: ObjectStore) -> ObjectStore | None:
        """A store of this kind whose backend fails at everything; None where nothing can fail."""
        return None

    # put

    @pytest.mark.parametrize("kind", KINDS)
    def test_first_put_reports_created(self, store: ObjectStore, kind: ObjectKind) -> None:
        outcome = store.put(key_of(DATA, kind), io.BytesIO(DATA), len(DATA))

        assert outcome is PutOutcome.CREATED

    @pytest.mark.parametrize("kind", KINDS)
    def test_second_put_reports_present(self, store: ObjectStore, kind: ObjectKind) -> None:
        key = put_bytes(store, DATA, kind)

        outcome = store.put(key, io.BytesIO(DATA), len(DATA))

        assert outcome is PutOutcome.PRESENT

    @pytest.mark.parametrize("kind", KINDS)
    def test_backend_holds_exactly_the_bytes_that_were_put(self, store: ObjectStore, kind: ObjectKind) -> None:
        key = put_bytes(store, DATA, kind)

        assert self.stored_bytes(store, key) == DATA

    def test_second_put_leaves_the_bytes_as_they_are(self, store: ObjectStore) -> None:
        key = put_bytes(store, DATA)

        put_bytes(store, DATA)

        assert self.stored_bytes(store, key) == DATA

    def test_one_content_is_a_separate_object_in_each_kind(self, store: ObjectStore) -> None:
        keys = [put_bytes(store, DATA, kind) for kind in KINDS]

        store.delete(keys[0])

        assert [self.stored_bytes(store, key) for key in keys] == [None, *[DATA] * (len(KINDS) - 1)]

    def test_empty_object_can_be_put_and_read(self, store: ObjectStore) -> None:
        key = put_bytes(store, b"")

        assert (store.size(key), store.read(key)) == (0, b"")

    def test_put_reads_the_source_from_where_it_stands(self, store: ObjectStore) -> None:
        source = io.BytesIO(b"skipped" + DATA)
        source.seek(len(b"skipped"))

        store.put(key_of(DATA), source, len(DATA))

        assert self.stored_bytes(store, key_of(DATA)) == DATA

    def test_put_takes_a_source_that_gives_a_few_bytes_at_a_time(self, store: ObjectStore) -> None:
        store.put(key_of(DATA), _slow(DATA), len(DATA))

        assert self.stored_bytes(store, key_of(DATA)) == DATA

    def test_large_object_passes_in_pieces(self, store: ObjectStore) -> None:
        data = some_bytes(9 * MEBIBYTE + 1)

        key = put_bytes(store, data)

        assert (store.size(key), self.stored_bytes(store, key) == data) == (len(data), True)

    def test_put_after_delete_creates_the_object_again(self, store: ObjectStore) -> None:
        key = put_bytes(store, DATA)
        store.delete(key)

        outcome = store.put(key, io.BytesIO(DATA), len(DATA))

        assert (outcome, self.stored_bytes(store, key)) == (PutOutcome.CREATED, DATA)

    # verified on the way in

    @pytest.mark.parametrize(
        ("data", "size_bytes"),
        [
            pytest.param(b"What a run leaves behind", len(DATA), id="other-bytes-of-the-same-size"),
            pytest.param(DATA[:-1], len(DATA), id="too-short"),
            pytest.param(DATA + b"!", len(DATA), id="too-long"),
            pytest.param(b"", len(DATA), id="nothing"),
            pytest.param(DATA, len(DATA) + 1, id="right-bytes-announced-too-large"),
            pytest.param(DATA, len(DATA) - 1, id="right-bytes-announced-too-small"),
        ],
    )
    def test_bytes_that_are_not_as_announced_are_refused_and_not_kept(
        self, store: ObjectStore, data: bytes, size_bytes: int
    ) -> None:
        key = key_of(DATA)

        with pytest.raises(DigestMismatchError):
            store.put(key, io.BytesIO(data), size_bytes)

        assert (self.stored_bytes(store, key), self.leftovers(store)) == (None, [])

    def test_refused_put_leaves_the_object_that_is_there(self, store: ObjectStore) -> None:
        key = put_bytes(store, DATA)

        with pytest.raises(DigestMismatchError):
            store.put(key, io.BytesIO(b"something else"), len(DATA))

        assert self.stored_bytes(store, key) == DATA

    def test_right_bytes_can_be_put_after_a_refusal(self, store: ObjectStore) -> None:
        with pytest.raises(DigestMismatchError):
            store.put(key_of(DATA), io.BytesIO(b"something else"), len(DATA))

        outcome = store.put(key_of(DATA), io.BytesIO(DATA), len(DATA))

        assert outcome is PutOutcome.CREATED

    def test_source_that_fails_midway_leaves_nothing(self, store: ObjectStore) -> None:
        with pytest.raises(_SourceError):
            store.put(key_of(DATA), _failing(DATA), len(DATA))

        assert (self.stored_bytes(store, key_of(DATA)), self.leftovers(store)) == (None, [])

    # staging

    def test_staged_bytes_are_stored_under_the_key_of_the_commit(self, store: ObjectStore) -> None:
        with store.stage(blake3()) as stage:
            stage.write(DATA[:10])
            stage.write(DATA[10:])
            outcome = stage.commit(key_of(DATA), len(DATA))

        assert (outcome, self.stored_bytes(store, key_of(DATA))) == (PutOutcome.CREATED, DATA)

    def test_commit_of_bytes_that_are_there_reports_present(self, store: ObjectStore) -> None:
        key = put_bytes(store, DATA)

        with store.stage(blake3()) as stage:
            stage.write(DATA)
            outcome = stage.commit(key, len(DATA))

        assert (outcome, self.leftovers(store)) == (PutOutcome.PRESENT, [])

    def test_hasher_of_the_stage_sees_every_byte_once(self, store: ObjectStore) -> None:
        data = some_bytes(5 * MEBIBYTE)

        with BlobHasher() as hasher, store.stage(hasher) as stage:
            for piece in _pieces(data):
                stage.write(piece)
            found = hasher.finish()
            stage.commit(key_of(data), len(data))

        assert found == measure(data)

    def test_large_object_can_be_staged_in_pieces(self, store: ObjectStore) -> None:
        data = some_bytes(9 * MEBIBYTE)

        with store.stage(blake3()) as stage:
            for piece in _pieces(data):
                stage.write(piece)
            stage.commit(key_of(data), len(data))

        assert self.stored_bytes(store, key_of(data)) == data

    def test_staged_object_cannot_be_seen_before_the_commit(self, store: ObjectStore) -> None:
        key = key_of(DATA)

        with store.stage(blake3()) as stage:
            stage.write(DATA)

            with pytest.raises(ObjectNotFoundError):
                store.size(key)
            assert (self.stored_bytes(store, key), list(store.list(ObjectKind.BLOB))) == (None, [])

    def test_abandoned_stage_leaves_nothing(self, store: ObjectStore) -> None:
        with store.stage(blake3()) as stage:
            stage.write(DATA)

        assert (self.stored_bytes(store, key_of(DATA)), self.leftovers(store)) == (None, [])

    def test_stage_left_by_an_error_leaves_nothing(self, store: ObjectStore) -> None:
        def write_and_fail() -> None:
            with store.stage(blake3()) as stage:
                stage.write(DATA)
                raise _SourceError

        with pytest.raises(_SourceError):
            write_and_fail()

        assert (self.stored_bytes(store, key_of(DATA)), self.leftovers(store)) == (None, [])

    @pytest.mark.parametrize("size_bytes", [len(DATA) - 1, len(DATA) + 1])
    def test_commit_with_another_size_is_refused(self, store: ObjectStore, size_bytes: int) -> None:
        with store.stage(blake3()) as stage:
            stage.write(DATA)
            with pytest.raises(DigestMismatchError):
                stage.commit(key_of(DATA), size_bytes)

        assert (self.stored_bytes(store, key_of(DATA)), self.leftovers(store)) == (None, [])

    def test_commit_under_another_digest_is_refused(self, store: ObjectStore) -> None:
        other = key_of(b"something else")

        with store.stage(blake3()) as stage:
            stage.write(DATA)
            with pytest.raises(DigestMismatchError):
                stage.commit(other, len(DATA))

        assert (self.stored_bytes(store, other), self.leftovers(store)) == (None, [])

    def test_discard_may_be_repeated(self, store: ObjectStore) -> None:
        stage = store.stage(blake3())
        stage.write(DATA)

        stage.discard()
        stage.discard()

        assert self.leftovers(store) == []

    def test_discard_after_a_commit_keeps_the_object(self, store: ObjectStore) -> None:
        stage = store.stage(blake3())
        stage.write(DATA)
        stage.commit(key_of(DATA), len(DATA))

        stage.discard()

        assert self.stored_bytes(store, key_of(DATA)) == DATA

    def test_discarded_stage_cannot_be_committed(self, store: ObjectStore) -> None:
        stage = store.stage(blake3())
        stage.write(DATA)
        stage.discard()

        with pytest.raises((AssertionError, StorageError)):
            stage.commit(key_of(DATA), len(DATA))

        assert self.stored_bytes(store, key_of(DATA)) is None

    def test_two_stages_do_not_touch_each_other(self, store: ObjectStore) -> None:
        with store.stage(blake3()) as first, store.stage(blake3()) as second:
            first.write(b"first")
            second.write(b"second")
            first.commit(key_of(b"first"), 5)
            second.commit(key_of(b"second"), 6)

        found = [self.stored_bytes(store, key_of(data)) for data in (b"first", b"second")]
        assert found == [b"first", b"second"]

    # reading

    def test_size_is_that_of_the_object(self, store: ObjectStore) -> None:
        key = put_bytes(store, DATA)

        assert store.size(key) == len(DATA)

    def test_read_gives_the_whole_object(self, store: ObjectStore) -> None:
        key = put_bytes(store, DATA)

        assert store.read(key) == DATA

    @pytest.mark.parametrize(
        ("start", "length", "expected"),
        [
            pytest.param(0, 4, DATA[:4], id="the-first-bytes"),
            pytest.param(5, 3, DATA[5:8], id="bytes-in-the-middle"),
            pytest.param(len(DATA) - 4, 4, DATA[-4:], id="the-last-bytes"),
            pytest.param(5, None, DATA[5:], id="from-a-start-to-the-end"),
            pytest.param(0, len(DATA), DATA, id="everything"),
            pytest.param(3, 0, b"", id="an-empty-range"),
            pytest.param(len(DATA), 0, b"", id="an-empty-range-at-the-end"),
            pytest.param(len(DATA), None, b"", id="from-the-end-on"),
        ],
    )
    def test_range_is_half_open(self, store: ObjectStore, start: int, length: int | None, expected: bytes) -> None:
        key = put_bytes(store, DATA)

        assert store.read(key, start, length) == expected

    @pytest.mark.parametrize(("start", "length"), [(0, None), (0, 0)])
    def test_empty_object_has_one_range(self, store: ObjectStore, start: int, length: int | None) -> None:
        key = put_bytes(store, b"")

        assert store.read(key, start, length) == b""

    @pytest.mark.parametrize(
        ("start", "length"),
        [
            pytest.param(0, len(DATA) + 1, id="past-the-end"),
            pytest.param(len(DATA), 1, id="after-the-end"),
            pytest.param(len(DATA) + 1, 0, id="empty-but-after-the-end"),
            pytest.param(len(DATA) + 1, None, id="from-after-the-end-on"),
            pytest.param(-1, 1, id="before-the-start"),
            pytest.param(-1, None, id="from-before-the-start-on"),
            pytest.param(5, -1, id="backwards"),
        ],
    )
    def test_range_that_leaves_the_object_is_refused(self, store: ObjectStore, start: int, length: int | None) -> None:
        key = put_bytes(store, DATA)

        with pytest.raises(RangeInvalidError):
            store.read(key, start, length)

    def test_stream_gives_at_most_what_is_asked_for(self, store: ObjectStore) -> None:
        key = put_bytes(store, DATA)

        with store.open(key) as stream:
            pieces = list(iter(lambda: stream.read(5), b""))

        assert ([len(piece) <= 5 for piece in pieces], b"".join(pieces)) == ([True] * len(pieces), DATA)

    def test_stream_ends_with_its_range(self, store: ObjectStore) -> None:
        key = put_bytes(store, DATA)

        with store.open(key, 5, 3) as stream:
            found = [stream.read(2), stream.read(100), stream.read(100), stream.read()]

        assert b"".join(found) == DATA[5:8]

    def test_stream_that_is_not_read_to_its_end_can_be_left(self, store: ObjectStore) -> None:
        key = put_bytes(store, some_bytes(3 * MEBIBYTE))

        with store.open(key) as stream:
            first = stream.read(10)

        assert first == some_bytes(3 * MEBIBYTE)[:10]

    def test_callers_error_inside_open_leaves_as_it_is(self, store: ObjectStore) -> None:
        key = put_bytes(store, DATA)

        with pytest.raises(_SourceError), store.open(key):
            raise _SourceError

    def test_reading_shows_what_is_stored_and_not_what_was_put(self, store: ObjectStore) -> None:
        key = put_bytes(store, DATA)
        damaged = b"What a run leaves behind"

        self.replace_bytes(store, key, damaged)

        assert store.read(key) == damaged

    # what is not there

    @pytest.mark.parametrize("kind", KINDS)
    def test_size_of_a_missing_object_is_not_found(self, store: ObjectStore, kind: ObjectKind) -> None:
        with pytest.raises(ObjectNotFoundError):
            store.size(key_of(DATA, kind))

    def test_open_of_a_missing_object_is_not_found(self, store: ObjectStore) -> None:
        with pytest.raises(ObjectNotFoundError), store.open(key_of(DATA)):
            pass

    def test_read_of_a_missing_object_is_not_found(self, store: ObjectStore) -> None:
        put_bytes(store, b"another object")

        with pytest.raises(ObjectNotFoundError):
            store.read(key_of(DATA))

    def test_range_of_a_missing_object_is_not_found(self, store: ObjectStore) -> None:
        with pytest.raises(ObjectNotFoundError):
            store.read(key_of(DATA), 5, 3)

    # listing

    @pytest.mark.parametrize("kind", KINDS)
    def test_empty_store_lists_nothing(self, store: ObjectStore, kind: ObjectKind) -> None:
        assert list(store.list(kind)) == []

    @pytest.mark.parametrize("kind", KINDS)
    def test_list_names_every_object_of_a_kind_with_its_size(self, store: ObjectStore, kind: ObjectKind) -> None:
        contents = [some_bytes(size, seed=size) for size in range(20)]
        expected = {ObjectInfo(put_bytes(store, data, kind), len(data)) for data in contents}

        assert set(store.list(kind)) == expected

    def test_list_ascends_by_digest(self, store: ObjectStore) -> None:
        keys = [put_bytes(store, bytes([number])) for number in range(60)]

        listed = [info.key for info in store.list(ObjectKind.BLOB)]

        assert listed == sorted(keys, key=lambda key: key.digest)

    def test_list_leaves_other_kinds_out(self, store: ObjectStore) -> None:
        keys = {kind: put_bytes(store, DATA, kind) for kind in KINDS}

        assert [[info.key for info in store.list(kind)] for kind in KINDS] == [[keys[kind]] for kind in KINDS]

    def test_list_is_a_stream(self, store: ObjectStore) -> None:
        for number in range(5):
            put_bytes(store, bytes([number]))

        listing = store.list(ObjectKind.BLOB)

        assert iter(listing) is listing

    def test_list_bears_that_objects_are_deleted_meanwhile(self, store: ObjectStore) -> None:
        keys = sorted((put_bytes(store, bytes([number])) for number in range(10)), key=lambda key: key.digest)
        listing = store.list(ObjectKind.BLOB)
        first = next(listing)

        for key in keys[1:]:
            store.delete(key)

        assert (first.key, {info.key for info in listing} <= set(keys)) == (keys[0], True)

    def test_list_names_only_keys_that_parse_to_themselves(self, store: ObjectStore) -> None:
        for kind in KINDS:
            put_bytes(store, DATA, kind)

        listed = [info.key for kind in KINDS for info in store.list(kind)]

        assert [ObjectKey.parse(str(key)) for key in listed] == listed

    # delete and quarantine

    def test_deleted_object_is_gone(self, store: ObjectStore) -> None:
        key = put_bytes(store, DATA)

        store.delete(key)

        assert (self.stored_bytes(store, key), list(store.list(ObjectKind.BLOB))) == (None, [])

    def test_delete_may_be_repeated(self, store: ObjectStore) -> None:
        key = put_bytes(store, DATA)

        store.delete(key)
        store.delete(key)

        assert self.stored_bytes(store, key) is None

    def test_delete_in_an_empty_store_is_harmless(self, store: ObjectStore) -> None:
        store.delete(key_of(DATA))

        assert list(store.list(ObjectKind.BLOB)) == []

    def test_delete_leaves_the_neighbours(self, store: ObjectStore) -> None:
        kept, deleted = put_bytes(store, b"kept"), put_bytes(store, b"deleted")

        store.delete(deleted)

        assert self.stored_bytes(store, kept) == b"kept"

    def test_many_are_deleted_at_once_and_their_neighbours_stay(self, store: ObjectStore) -> None:
        kept = put_bytes(store, b"kept")
        keys = [put_bytes(store, b"%d" % number, kind) for kind in ObjectKind for number in range(5)]

        store.delete_many([*keys, key_of(b"never there")])

        assert [key for key in keys if self.stored_bytes(store, key) is not None] == []
        assert self.stored_bytes(store, kept) == b"kept"

    def test_many_may_be_none_or_gone(self, store: ObjectStore) -> None:
        key = put_bytes(store, DATA)

        store.delete_many([])
        store.delete_many([key])
        store.delete_many([key])

        assert self.stored_bytes(store, key) is None

    def test_the_clock_of_a_backend_is_near_ours_or_not_told(self, store: ObjectStore) -> None:
        its_time = store.server_time()

        assert its_time is None or abs(its_time - system_clock()) < 300_000_000

    def test_quarantined_object_is_not_found_and_not_listed(self, store: ObjectStore) -> None:
        key = put_bytes(store, DATA)

        store.quarantine(key)

        with pytest.raises(ObjectNotFoundError):
            store.read(key)
        assert list(store.list(ObjectKind.BLOB)) == []

    def test_no_object_is_a_stray(self, store: ObjectStore) -> None:
        for kind in KINDS:
            put_bytes(store, DATA, kind)

        assert [stray for stray in store.strays() if stray.kind is not StrayKind.LEFTOVER] == []

    def test_quarantined_object_is_a_stray_that_says_so(self, store: ObjectStore) -> None:
        store.quarantine(put_bytes(store, DATA))

        found = [(stray.kind, stray.size_bytes) for stray in store.strays()]

        assert found == [(StrayKind.QUARANTINED, len(DATA))]

    def test_put_after_quarantine_creates_the_object_afresh(self, store: ObjectStore) -> None:
        key = put_bytes(store, DATA)
        self.replace_bytes(store, key, b"What a run leaves behind")
        store.quarantine(key)

        outcome = store.put(key, io.BytesIO(DATA), len(DATA))

        assert (outcome, self.stored_bytes(store, key)) == (PutOutcome.CREATED, DATA)

    def test_replace_puts_a_good_object_in_place_of_a_bad_one(self, store: ObjectStore) -> None:
        key = put_bytes(store, DATA)
        self.replace_bytes(store, key, b"rotten")

        with store.stage(blake3()) as stage:
            stage.write(DATA)
            outcome = stage.replace(key, len(DATA))

        assert (outcome, DATA) == (PutOutcome.CREATED, self.stored_bytes(store, key))
        assert [key] == [info.key for info in store.list(key.kind)]

    def test_replace_creates_what_is_not_there(self, store: ObjectStore) -> None:
        with store.stage(blake3()) as stage:
            stage.write(DATA)
            stage.replace(key_of(DATA), len(DATA))

        assert store.read(key_of(DATA)) == DATA

    def test_replace_with_other_bytes_is_refused_and_changes_nothing(self, store: ObjectStore) -> None:
        key = put_bytes(store, DATA)

        with store.stage(blake3()) as stage:
            stage.write(b"other")
            with pytest.raises(DigestMismatchError):
                stage.replace(key, 5)

        assert store.read(key) == DATA

    def test_object_can_be_quarantined_more_than_once(self, store: ObjectStore) -> None:
        for _ in range(3):
            key = put_bytes(store, DATA)
            store.quarantine(key)

        assert self.stored_bytes(store, key) is None

    def test_what_is_whole_or_under_way_is_no_leftover(self, store: ObjectStore) -> None:
        put_bytes(store, b"whole")
        with store.stage(blake3()) as stage:
            stage.write(b"under way")
            removed = store.remove_leftovers(timedelta(hours=1))
            outcome = stage.commit(key_of(b"under way"), len(b"under way"))

        assert (removed, outcome) == (0, PutOutcome.CREATED)
        assert [store.read(key_of(data)) for data in (b"whole", b"under way")] == [b"whole", b"under way"]

    def test_quarantine_of_a_missing_object_is_harmless(self, store: ObjectStore) -> None:
        store.quarantine(key_of(DATA))

        assert store.put(key_of(DATA), io.BytesIO(DATA), len(DATA)) is PutOutcome.CREATED

    # presigned URLs

    @pytest.mark.parametrize("kind", [ObjectKind.BLOB, ObjectKind.MANIFEST])
    def test_presigned_url_is_a_url_or_none(self, store: ObjectStore, kind: ObjectKind) -> None:
        key = put_bytes(store, DATA, kind)

        url = store.presigned_url(key, expires_in_s=60)

        assert url is None or "://" in url

    def test_pack_has_no_presigned_url(self, store: ObjectStore) -> None:
        key = put_bytes(store, DATA, ObjectKind.PACK)

        assert store.presigned_url(key, expires_in_s=60) is None

    # errors

    @pytest.mark.parametrize(
        "operation",
        [
            pytest.param(lambda store: put_bytes(store, DATA), id="put"),
            pytest.param(lambda store: store.size(key_of(DATA)), id="size"),
            pytest.param(lambda store: store.read(key_of(DATA)), id="read"),
            pytest.param(lambda store: list(store.list(ObjectKind.BLOB)), id="list"),
            pytest.param(lambda store: store.delete(key_of(DATA)), id="delete"),
            pytest.param(lambda store: store.quarantine(key_of(DATA)), id="quarantine"),
        ],
    )
    def test_failure_of_the_backend_leaves_as_a_storage_error_with_its_cause(
        self, store: ObjectStore, operation: Callable[[ObjectStore], object]
    ) -> None:
        broken = self.broken(store)
        if broken is None:
            return  # this backend cannot fail

        with pytest.raises(StorageError) as caught:
            operation(broken)

        assert caught.value.__cause__ is not None

    # several at once

    def test_eight_threads_that_put_one_object_create_it_once(self, store: ObjectStore) -> None:
        data = some_bytes(2 * MEBIBYTE)

        outcomes = _at_once(8, lambda _: store.put(key_of(data), io.BytesIO(data), len(data)))

        assert outcomes.count(PutOutcome.CREATED) >= 1
        assert (self.stored_bytes(store, key_of(data)) == data, self.leftovers(store)) == (True, [])

    def test_eight_threads_that_put_different_objects_lose_none(self, store: ObjectStore) -> None:
        contents = [some_bytes(1000, seed) for seed in range(80)]

        _at_once(8, lambda number: [put_bytes(store, data) for data in contents[number::8]])

        assert [self.stored_bytes(store, key_of(data)) for data in contents] == contents

    def test_reader_never_sees_part_of_an_object(self, store: ObjectStore) -> None:
        data = some_bytes(3 * MEBIBYTE)
        published = threading.Event()

        def write() -> None:
            try:
                put_bytes(store, data)
            finally:
                published.set()

        def read() -> list[bytes | None]:
            found = []
            while not published.is_set():
                found.append(_read_or_none(store, key_of(data)))
            return [*found, _read_or_none(store, key_of(data))]

        with ThreadPoolExecutor(2) as pool:
            reading = pool.submit(read)
            pool.submit(write).result()

        assert [found for found in reading.result() if found is not None and found != data] == []
        assert reading.result()[-1] == data

    def test_deletes_and_puts_at_once_leave_a_whole_object_or_none(self, store: ObjectStore) -> None:
        data = some_bytes(1000)

        def put_or_delete(number: int) -> None:
            for _ in range(10):
                if number % 2:
                    put_bytes(store, data)
                else:
                    store.delete(key_of(data))

        _at_once(4, put_or_delete)

        assert self.stored_bytes(store, key_of(data)) in (None, data)

    def test_four_processes_that_put_the_same_objects_lose_none(self, store: ObjectStore) -> None:
        opener = self.opener(store)
        if opener is None:
            return  # this backend lives in one process
        contents = [some_bytes(1000, seed) for seed in range(20)]

        with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
            created = [future.result() for future in [pool.submit(_put_all, opener, contents) for _ in range(4)]]

        assert sum(created) >= len(contents)
        assert [self.stored_bytes(store, key_of(data)) for data in contents] == contents


class _SourceError(Exception):
    """What a caller's own source raises."""


class _Source(io.RawIOBase):
    """A source of a few bytes at a time that may fail before its end."""

    def __init__(self, data: bytes, *, fails: bool) -> None:
        super().__init__()
        self._data = data
        self._fails = fails

    def read(self, size: int = -1, /) -> bytes:
        piece, self._data = self._data[:7], self._data[7:]
        if self._fails and len(self._data) < 7:
            raise _SourceError
        return piece


def _slow(data: bytes) -> BinaryIO:
    return cast("BinaryIO", _Source(data, fails=False))


def _failing(data: bytes) -> BinaryIO:
    return cast("BinaryIO", _Source(data, fails=True))


def _pieces(data: bytes) -> list[bytes]:
    return [data[at : at + MEBIBYTE] for at in range(0, len(data), MEBIBYTE)]


def _at_once(threads: int, work: Callable[[int], T]) -> list[T]:
    """Call ``work`` with 0, 1, ... in so many threads that all begin together."""
    barrier = threading.Barrier(threads)

    def begin(number: int) -> T:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(begin, range(threads)))


def _read_or_none(store: ObjectStore, key: ObjectKey) -> bytes | None:
    try:
        return store.read(key)
    except ObjectNotFoundError:
        return None


def _put_all(opener: Callable[[], ObjectStore], contents: list[bytes]) -> int:
    store = opener()
    outcomes = [store.put(key_of(data), io.BytesIO(data), len(data)) for data in contents]
    return outcomes.count(PutOutcome.CREATED)
