"""From expiry to certificate with the command line, on the store of this host."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import cbor2
import pytest

from artifactstore.bootstrap import open_registry
from artifactstore.storage.port import ObjectKind
from tests.retention import FILES, expire, push
from tests.service import clean_environment, settings_of
from tests.support import objects_of_kind, run_cli, start_cli, stored_objects

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support import CliResult


@pytest.fixture
def package_id(home: Path) -> str:
    with closing(open_registry(settings_of(home))) as registry:
        package_id = push(registry)
        expire(registry)
    return package_id


def retention(home: Path, *arguments: str) -> CliResult:
    return run_cli(home, "retention", *arguments)


def test_a_package_is_planned_deleted_collected_and_certified(home: Path, package_id: str) -> None:
    before = sum(map(len, stored_objects(home).values()))
    made = retention(home, "plan").document
    plan_bytes = sum(map(len, stored_objects(home).values())) - before

    applied = retention(home, "apply", made["plan_digest"], "--reason", "space")
    early = retention(home, "certificate", package_id)
    planned = run_cli(home, "collect").document["backends"]["default"]
    collected = run_cli(home, "collect", "--apply", "--grace-s", "0")

    assert (0, 1, 0) == (applied.code, applied.document["deleted"], applied.document["skipped"])
    assert (1, True) == (early.code, "NOT_DESTROYED" in early.stderr)
    assert (0, "collected") == (collected.code, collected.document["status"])
    assert made["frees_bytes"] == planned["dead_bytes"] == before
    assert plan_bytes == planned["expected_bytes_after"] == sum(map(len, stored_objects(home).values()))
    shown = run_cli(home, "show", package_id).document
    assert ("deleted", "space", made["plan_digest"]) == (
        shown["status"], shown["deletion"]["reason"], shown["deletion"]["plan_digest"],
    )  # fmt: skip
    certificate = retention(home, "certificate", package_id, "--json").document
    assert len(FILES) == len(certificate["blobs"])


def test_a_certificate_is_cbor_where_it_is_not_asked_for_as_json(home: Path, package_id: str) -> None:
    retention(home, "apply", retention(home, "plan").document["plan_digest"])
    run_cli(home, "collect", "--apply", "--grace-s", "0")

    answer = subprocess.run(
        [sys.executable, "-m", "artifactstore", "retention", "certificate", package_id],
        env={**clean_environment(), "ARTIFACTSTORE_HOME": str(home)}, capture_output=True, check=True, timeout=60,
    )  # fmt: skip

    said = cbor2.loads(answer.stdout)
    assert (package_id, answer.stdout) == (said["package_id"], cbor2.dumps(said, canonical=True))


def test_a_deleted_package_uses_nothing(home: Path, package_id: str) -> None:
    before = run_cli(home, "usage", "--package", package_id).document
    retention(home, "apply", retention(home, "plan").document["plan_digest"])

    after = run_cli(home, "usage", "--package", package_id).document

    assert before["logical_bytes"] > 0
    assert (0, 0, 0) == tuple(after[f"{which}_bytes"] for which in ("logical", "unique", "shared"))


def test_what_was_held_meanwhile_is_partly_done(home: Path, package_id: str) -> None:
    made = retention(home, "plan").document
    hold_id = retention(home, "hold", package_id, "--reason", "audit").document["hold_id"]

    applied = retention(home, "apply", made["plan_digest"])

    assert (3, [f"hold: {hold_id}"]) == (applied.code, [each["reason"] for each in applied.document["skipped_first"]])


def test_nobody_applies_alone_what_two_must_agree_to(home: Path, package_id: str) -> None:
    made = retention(home, "plan").document
    retention(home, "apply", made["plan_digest"], "--approve")
    process = start_cli(
        home, "retention", "apply", made["plan_digest"], settings={"ARTIFACTSTORE_RETENTION_APPROVALS": "2"}
    )

    _, errors = process.communicate(timeout=60)

    assert (1, True) == (process.returncode, "PLAN_NOT_APPROVED" in errors)
    assert "expired" == run_cli(home, "show", package_id).document["status"]


def test_what_readers_may_need_is_left_to_a_later_run(home: Path, package_id: str) -> None:
    retention(home, "apply", retention(home, "plan").document["plan_digest"])

    first = run_cli(home, "collect", "--apply", "--grace-s", "3600", "--wait-s", "0")
    there = len(objects_of_kind(home, ObjectKind.BLOB))
    second = run_cli(home, "collect", "--apply", "--grace-s", "0")

    assert (3, "waiting", 3, 1) == (first.code, first.document["status"], first.document["left"], there)
    assert (0, 0) == (second.code, len(objects_of_kind(home, ObjectKind.BLOB)))
    duties = {duty["name"]: duty for duty in run_cli(home, "status").document["duties"]}
    assert 3 == duties["collect"]["detail"]["deleted"]


def test_pins(home: Path, package_id: str) -> None:
    pinned = retention(home, "pin", package_id, "--reason", "reference")
    twice = retention(home, "pin", package_id, "--reason", "reference")
    kept = retention(home, "plan").document
    unpinned = retention(home, "unpin", package_id, "--reason", "superseded")

    assert ("reference", 1) == (pinned.document["pin"]["reason"], kept["keep"])
    assert (1, True) == (twice.code, "PACKAGE_STATE" in twice.stderr)
    assert unpinned.document["pin"] is None
