"""Bugs that somebody could write, and the tests that catch each: ``make planted-bugs``.

A bug is one exact replacement in one file. ``scripts/plant_bugs.py`` plants each in a copy of the tree, and every one
of its tests must fail there and pass without it. ``tests/unit/test_planted_bugs.py`` keeps this table from rotting.
"""

from __future__ import annotations

from typing import NamedTuple


class PlantedBug(NamedTuple):
    """One bug: where, what is written there, what is written instead, and who notices."""

    name: str
    file: str
    was: str
    becomes: str
    tests: tuple[str, ...]
    """By pytest's ids, without parameters: of a test that has some, one case must fail."""


LOCAL, CATALOG, SQLITE = (
    "artifactstore/storage/local.py",
    "artifactstore/catalog/catalog.py",
    "artifactstore/catalog/sqlite.py",
)
POSTGRES, STAGING = "artifactstore/catalog/postgres.py", "artifactstore/storage/s3/staging.py"
COLLECTING, APPLYING = "artifactstore/registry/collecting.py", "artifactstore/registry/applying.py"
CLOCKS = "artifactstore/registry/clocks.py"
PLANNING, REPACKING = "artifactstore/registry/planning.py", "artifactstore/registry/repacking.py"
HEALING, REMOVING = "artifactstore/registry/healing.py", "artifactstore/registry/removing.py"
PUBLISHING, LOCATIONS = "artifactstore/registry/publishing.py", "artifactstore/registry/locations.py"

_UNIT, _WITH_PARTS = "tests/unit", "tests/integration"

WELL_KNOWN = (
    PlantedBug(
        "directories are not synced",
        LOCAL,
        "    try:\n        os.fsync(descriptor)\n    finally:",
        "    try:\n        pass\n    finally:",
        ("tests/unit/test_local_store.py::test_directory_of_the_object_is_synced_after_the_link",),
    ),
    PlantedBug(
        "SQLite does not sync its commits",
        SQLITE,
        '"PRAGMA synchronous = FULL"',
        '"PRAGMA synchronous = NORMAL"',
        ("tests/integration/test_durability.py::test_every_connection_is_durable_and_checked",),
    ),
    PlantedBug(
        "a request that is not idempotent is repeated",
        "artifactstore/client/connection.py",
        "if failure.was_sent and not request.repeatable:",
        "if not failure.was_sent and not request.repeatable:",
        ("tests/client/test_connection.py::test_what_must_not_happen_twice_is_not_sent_twice",),
    ),
    PlantedBug(
        "collection deletes without looking once more",
        COLLECTING,
        "doomed[:] = [found for found in condemned if found not in needed]",
        "doomed[:] = list(batch)",
        ("tests/integration/test_collecting_meanwhile.py::test_an_ingest_has_back_what_is_condemned",),
    ),
    PlantedBug(
        "an ETag is compared with its quotes",
        "artifactstore/storage/s3/uploading.py",
        """str(answer.get("ETag", "")).strip('"') == md5""",
        """str(answer.get("ETag", "")) == md5""",
        ("tests/integration/test_s3_store.py::test_a_put_is_a_look_and_one_conditional_request",),
    ),
    PlantedBug(
        "the tag of a request is compared without its quotes",
        "artifactstore/api/conditions.py",
        "return any(tag == etag and",
        "return any(tag.strip('\"') == etag and",
        ("tests/unit/test_conditions.py::test_a_list_that_has_the_tag_matches",),
    ),
    PlantedBug(
        "a range is handed out without being checked",
        LOCATIONS,
        "if (found := blake3(data).digest()) == wanted.blake3:",
        "if (found := blake3(data).digest()) == wanted.blake3 or len(data) == CHUNK_BYTES:",
        ("tests/integration/test_downloads.py::test_no_range_gives_a_wrong_byte_and_those_of_good_chunks_are_given",),
    ),
    PlantedBug(
        "a package is acknowledged before its bytes are stored",
        PUBLISHING,
        "        while self._under_way:\n            self._take_oldest()",
        "        while len(self._under_way) > 1:\n            self._take_oldest()",
        ("tests/integration/test_full_disk.py::test_storage_that_fails_at_any_call",),
    ),
    PlantedBug(
        "a package is acknowledged before its commit",
        SQLITE,
        """        try:
            self._connection.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise
""",
        """        with suppress(sqlite3.Error):
            self._connection.execute("COMMIT")
            return
        self._roll_back()
""",
        ("tests/integration/test_durability.py::test_a_commit_that_fails_is_an_error_and_nothing_is_there",),
    ),
    PlantedBug(
        "a full disk is passed over",
        LOCAL,
        "        kind = _ERRORS.get(error.errno or 0, StorageError)\n",
        "        if error.errno == errno.ENOSPC:\n            return\n"
        "        kind = _ERRORS.get(error.errno or 0, StorageError)\n",
        ("tests/unit/test_local_store.py::test_full_disk_is_named_and_leaves_nothing",),
    ),
    PlantedBug(
        "a conflict of S3's counts as present",
        STAGING,
        "            if not self._may_try_again(error):\n                raise\n",
        "            if status_of(error) == _CONFLICT:\n                self.discard()\n                return True\n"
        "            if not self._may_try_again(error):\n                raise\n",
        ("tests/integration/test_s3_store.py::test_a_conflict_is_tried_again",),
    ),
    PlantedBug(
        "a lock belongs to the session",
        POSTGRES,
        'self.execute("SELECT pg_advisory_xact_lock(?)", (key,))',
        'self.execute("SELECT pg_advisory_lock(?)", (key,))',
        ("tests/integration/test_postgres.py::test_a_lock_ends_with_its_transaction",),
    ),
    PlantedBug(
        "the lock of the log belongs to the session",
        POSTGRES,
        'f"SELECT pg_advisory_xact_lock({_SPACE}, {_APPEND})"',
        'f"SELECT pg_advisory_lock({_SPACE}, {_APPEND})"',
        ("tests/integration/test_postgres.py::test_a_lock_ends_with_its_transaction",),
    ),
    PlantedBug(
        "events are appended in a transaction of their own",
        CATALOG,
        "            yield transaction\n            transaction.finish(self._clock())\n",
        "            yield transaction\n        with self._database.write() as connection:\n"
        "            transaction.connection = connection\n            transaction.finish(self._clock())\n",
        ("tests/integration/test_durability.py::test_what_an_event_changes_is_not_there_without_the_event",),
    ),
    PlantedBug(
        "two stages have one temporary name",
        LOCAL,
        'folder / f"{os.getpid()}-{secrets.token_hex(8)}"',
        'folder / f"{os.getpid()}-staged"',
        ("tests/contract/test_local.py::TestLocalStore::test_two_stages_do_not_touch_each_other",),
    ),
)
"""The twelve that every store of this kind has had, some of them in two ways."""

OF_THE_LIFE_CYCLE = (
    PlantedBug(
        "a hold between plan and application is not seen",
        APPLYING,
        "    if keeping := reason_to_keep(queries, package, registry.retention):",
        "    if False and (keeping := reason_to_keep(queries, package, registry.retention)):",
        (
            "tests/integration/test_retention_plans.py::TestApplying::test_a_hold_between_plan_and_apply_wins",
            "tests/integration/test_retention_plans.py::TestApplying::test_a_pin_between_plan_and_apply_wins",
        ),
    ),
    PlantedBug(
        "what has happened since the plan is not asked",
        APPLYING,
        'return f"{since[0].type} has happened to it since the plan" if since else ""',
        'return f"{since[0].type} has happened to it since the plan" if since and False else ""',
        ("tests/integration/test_retention_plans.py::TestApplying::test_a_hold_that_came_and_went_needs_a_new_plan",),
    ),
    PlantedBug(
        "a plan is not read to its end before it is applied",
        APPLYING,
        "    _check_to_its_end(registry, plan)\n    reader =",
        "    reader =",
        ("tests/integration/test_retention_plans.py::TestApplying::test_a_plan_that_does_not_add_up_deletes_nothing",),
    ),
    PlantedBug(
        "whoever applies a plan may approve it alone",
        APPLYING,
        "if actor != registry.actor]",
        "if actor]",
        ("tests/integration/test_retention_plans.py::TestApproving::test_nobody_approves_alone",),
    ),
    PlantedBug(
        "the manifest is not compared with the plan's",
        APPLYING,
        'if Digest.blake3(package.manifest_digest or b"") != Digest.parse(item.manifest_digest):',
        "if False:",
        (
            "tests/integration/test_retention_plans.py::TestApplying::test_a_package_with_another_manifest_than_the_plan_says_stays",
        ),
    ),
    PlantedBug(
        "one more than the newest N is kept",
        PLANNING,
        "if newer < newest else None",
        "if newer <= newest else None",
        ("tests/integration/test_retention_plans.py::TestPlanning::test_the_newest_of_a_subject_are_kept",),
    ),
    PlantedBug(
        "held packages that are due are in no plan",
        PLANNING,
        "for package in merge(self._expired(), self._held, key=by_id):",
        "for package in self._expired():",
        ("tests/integration/test_retention_plans.py::TestPlanning::test_holds_keep_and_are_named",),
    ),
    PlantedBug(
        "collection condemns without looking under the lock",
        COLLECTING,
        "        if now.is_referred_to and not is_condemned_already:\n            return None\n",
        "",
        ("tests/integration/test_collecting_meanwhile.py::test_an_ingest_uses_what_was_found_to_be_dead",),
    ),
    PlantedBug(
        "leases are not waited for",
        COLLECTING,
        "            if waited_for:\n",
        "            if waited_for and not self._name:\n",
        ("tests/integration/test_collecting.py::TestWaiting::test_a_lease_of_before_is_waited_for",),
    ),
    PlantedBug(
        "leases that were opened just after the condemning are not waited for",
        COLLECTING,
        "waited_for[0][2] - microseconds(CLOCKS_DIFFER_BY_S) - 1",
        "waited_for[0][2] - 1",
        (
            "tests/integration/test_collecting.py::TestWaiting::test_a_lease_that_another_clock_opened_just_after_is_waited_for",
        ),
    ),
    PlantedBug(
        "readers have no time",
        COLLECTING,
        "before = now - microseconds(self._registry.collection.grace_s)",
        "before = now",
        ("tests/integration/test_collecting.py::TestWaiting::test_readers_have_their_time",),
    ),
    PlantedBug(
        "clocks are not compared",
        CLOCKS,
        "        if abs(said - now) > _LIMIT_US:\n",
        "        if abs(said - now) > _LIMIT_US * 1_000_000:\n",
        (
            "tests/integration/test_clocks.py::test_what_another_clock_says_stands_whatever_somebody_says",
            "tests/integration/test_collecting_s3.py::test_nothing_is_collected_by_a_clock_that_is_not_the_servers",
        ),
    ),
    PlantedBug(
        "a deletion is recorded before the bytes are gone",
        COLLECTING,
        "            if doomed:\n                self._registry.backend(self._name).delete_many",
        "            if not doomed:\n                self._registry.backend(self._name).delete_many",
        ("tests/integration/test_collecting.py::TestWhatIsRemoved::test_the_bytes_of_a_deleted_package_go",),
    ),
    PlantedBug(
        "what is condemned and needed after all is forgotten",
        COLLECTING,
        "return ObjectReprieved(object=reference_to(found)) if found in needed else None",
        "return None",
        ("tests/integration/test_collecting_meanwhile.py::test_a_pack_with_the_last_of_a_blob_counts_again",),
    ),
    PlantedBug(
        "a damaged copy counts as one",
        "artifactstore/catalog/collecting.py",
        "AND other.status = 'live'\"\n    f\"   AND stored_object.status = 'live' LIMIT 1",
        "LIMIT 1",
        ("tests/integration/test_collecting_meanwhile.py::test_a_pack_with_the_last_of_a_blob_counts_again",),
    ),
    PlantedBug(
        "what is condemned is kept for a blob that lies elsewhere",
        COLLECTING,
        "if collecting.is_needed(tx.connection, found.row_id)]",
        "if (now := collecting.referred(tx.connection, found.row_id)) and now.is_referred_to]",
        ("tests/integration/test_collecting_meanwhile.py::test_an_ingest_that_needs_one_condemned_blob",),
    ),
    PlantedBug(
        "what a writer is about to record counts as left behind",
        COLLECTING,
        "        if not collecting.claim_unrecorded(tx.connection, reference):\n            return\n",
        "        collecting.claim_unrecorded(tx.connection, reference)\n",
        (
            "tests/integration/test_collecting_meanwhile.py::test_what_is_recorded_when_it_was_found_to_be_left_behind_stays",
        ),
    ),
    PlantedBug(
        "a deletion that is begun is had back",
        "artifactstore/catalog/collecting.py",
        "SELECT 1 FROM removal WHERE {_OF_KEY} AND begun_at IS NULL",
        "SELECT 1 FROM removal WHERE {_OF_KEY}",
        ("tests/integration/test_collecting_meanwhile.py::test_an_ingest_while_bytes_are_deleted",),
    ),
    PlantedBug(
        "a smaller pack lacks what became needed meanwhile",
        REPACKING,
        "if stays or collecting.blobs_referred_to(tx.connection, found.row_id) != kept:",
        "if stays:",
        ("tests/integration/test_collecting_meanwhile.py::test_an_ingest_while_a_pack_becomes_smaller",),
    ),
    PlantedBug(
        "a smaller pack lacks what cannot be read",
        REPACKING,
        "        if len(moved) < len(kept):\n            return None\n",
        "",
        ("tests/integration/test_collecting.py::TestStorageThatFails::test_a_damaged_pack_is_left_to_verify",),
    ),
    PlantedBug(
        "a full disk keeps what is dead",
        COLLECTING,
        "            self._no_room = error\n",
        "            raise error\n",
        ("tests/integration/test_collecting.py::TestStorageThatFails::test_a_full_disk_keeps_nothing_that_is_dead",),
    ),
    PlantedBug(
        "what S3 says it did not delete counts as deleted",
        "artifactstore/storage/s3/bucket.py",
        "        return [names[name] for name in failed] if names.keys() >= set(failed) else list(keys)\n",
        "        return [names[name] for name in failed if name in names]\n",
        (
            "tests/integration/test_collecting_s3.py::test_what_the_answer_says_was_not_deleted_is_not_recorded_as_deleted",
        ),
    ),
    PlantedBug(
        "what is healed is not read back",
        HEALING,
        "        if is_right(self._registry.store, info.key, info.key.digest):\n            return\n",
        "        if is_right:\n            return\n",
        ("tests/integration/test_healing.py::test_what_reads_otherwise_than_it_was_stored_is_not_recorded_as_healed",),
    ),
    PlantedBug(
        "a large blob is healed from whatever there is",
        HEALING,
        "if hasher.finish().descriptor != (blob.blake3, blob.sha256, blob.size_bytes):",
        "if hasher.finish().descriptor[2] != blob.size_bytes:",
        ("tests/integration/test_healing.py::test_a_copy_whose_sha256_is_not_the_recorded_one_heals_nothing",),
    ),
    PlantedBug(
        "a package that is deleted while it is listed ends early",
        "artifactstore/registry/files.py",
        "        return page_of_files(registry, package_id, after_index=after, limit=_PAGE)\n",
        "        with registry.catalog.snapshot() as queries:\n"
        "            package = queries.package(package_id)\n"
        "            return queries.located_files(package.row_id, after_index=after, limit=_PAGE)\n",
        ("tests/integration/test_files.py::test_a_package_that_is_deleted_meanwhile_is_not_handed_out_in_part",),
    ),
)
"""Of plans, their application, collection, packs made smaller, and healing."""

BUGS = WELL_KNOWN + OF_THE_LIFE_CYCLE
