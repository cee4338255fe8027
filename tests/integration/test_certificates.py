"""A certificate says what was destroyed, only when it was, and the event log proves it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cbor2
import pytest
from blake3 import blake3

from artifactstore.bootstrap import open_registry
from artifactstore.catalog.event_log import next_chain
from artifactstore.domain.object_events import ObjectCopied
from artifactstore.errors import NotDestroyedError, PackageStateError
from artifactstore.registry.applying import apply_plan
from artifactstore.registry.certificates import certificate
from artifactstore.registry.collecting import collect
from artifactstore.registry.events import list_events
from artifactstore.registry.packages import find_package
from artifactstore.registry.planning import make_plan
from artifactstore.registry.removing import reference_to
from tests.retention import FILES, SMALL, delete_all_expired, expire, push, without_grace
from tests.two_backends import ARCHIVE, DISK, settings_from, two_directories

if TYPE_CHECKING:
    from pathlib import Path

    from artifactstore.registry.registry import Registry


@pytest.fixture
def registry(registry: Registry) -> Registry:
    return without_grace(registry)


def certified(registry: Registry, package_id: str) -> dict[str, Any]:
    found: dict[str, Any] = cbor2.loads(certificate(registry, package_id))
    return found


def test_a_certificate_names_every_blob_and_object_that_is_gone(registry: Registry) -> None:
    package_id = push(registry)
    plan_digest = delete_all_expired(registry, "the project has ended").digest
    collect(registry, wait_s=0)

    said = certified(registry, package_id)

    package, _ = find_package(registry, package_id)
    assert {blake3(data).digest(): len(data) for data in FILES.values()} == dict(said["blobs"])
    assert ["blob", "manifest", "pack"] == sorted(kind for _, kind, *_ in said["objects"])
    assert (package.manifest_digest, plan_digest) == (said["manifest_digest"], f"blake3:{said['plan_digest'].hex()}")
    assert ("the project has ended", "local:tester", "expired") == (said["reason"], said["deleted_by"], said["rule"])
    assert {"blobs": 0, "bytes": 0} == said["shared"]


def test_the_log_proves_it(registry: Registry) -> None:
    package_id = push(registry)
    delete_all_expired(registry, "the project has ended")
    collect(registry, wait_s=0)

    said = certified(registry, package_id)

    log, chain = said["log"], said["log"]["chain_before"]
    events = list_events(registry, after=log["first_seq"] - 1, limit=log["last_seq"] - log["first_seq"] + 1)
    for event in events:
        chain = next_chain(chain, event.header)
    by_seq = {event.seq: event for event in events}
    assert (log["chain_first"], log["chain_last"]) == (events[0].chain, chain)
    assert ("v1.package.deleted", package_id) == (events[0].type, events[0].subject)
    for _, _, digest, _, seq in said["objects"]:
        assert ("v1.object.deleted", f"blake3:{digest.hex()}") == (by_seq[seq].type, by_seq[seq].subject)


def test_there_is_none_while_bytes_remain(registry: Registry) -> None:
    package_id = push(registry)

    with pytest.raises(PackageStateError):
        certificate(registry, package_id)
    delete_all_expired(registry, "the project has ended")
    with pytest.raises(NotDestroyedError) as remaining:
        certificate(registry, package_id)

    assert {"blobs/", "packs/", "manife"} <= {problem.where[:6] for problem in remaining.value.problems}


def test_a_dead_blob_in_a_pack_that_stays_remains(registry: Registry) -> None:
    package_id = push(registry, SMALL)
    expire(registry)
    push(registry, dict(list(SMALL.items())[:15]), "run-2")
    apply_plan(registry, make_plan(registry).digest)
    collect(registry, wait_s=0)

    with pytest.raises(NotDestroyedError, match="5 blob"):
        certificate(registry, package_id)


def test_what_others_have_is_not_destroyed_and_does_not_hinder(registry: Registry) -> None:
    package_id = push(registry, {**SMALL, "large.bin": FILES["large.bin"]})
    expire(registry)
    push(registry, {"large.bin": FILES["large.bin"]}, "run-2")
    apply_plan(registry, make_plan(registry).digest)
    collect(registry, wait_s=0)

    said = certified(registry, package_id)

    assert {"blobs": 1, "bytes": len(FILES["large.bin"])} == said["shared"]
    assert len(SMALL) == len(said["blobs"])


def test_a_pack_that_became_smaller_is_gone(registry: Registry) -> None:
    package_id = push(registry, SMALL)
    expire(registry)
    push(registry, {"small-1": SMALL["small-1"]}, "run-2")
    apply_plan(registry, make_plan(registry).digest)
    collect(registry, wait_s=0)

    said = certified(registry, package_id)

    assert (len(SMALL) - 1, 1) == (len(said["blobs"]), said["shared"]["blobs"])
    assert certificate(registry, package_id) == certificate(registry, package_id)


def test_a_manifest_that_was_copied_since_remains(home: Path) -> None:
    """The event of the deletion names where its bytes were then."""
    with closing(open_registry(settings_from(two_directories(home)))) as opened:
        registry = without_grace(opened)
        package_id = push(registry)
        delete_all_expired(registry, "the project has ended")
        package, _ = find_package(registry, package_id)
        with registry.transaction() as tx:
            manifest = reference_to(tx.objects_of_digest("manifest", package.manifest_digest or b"")[0])
            tx.record(ObjectCopied(object=manifest._replace(backend=ARCHIVE), source=DISK))
        collect(replace(registry, backends={DISK: registry.backend(DISK)}), wait_s=0)

        with pytest.raises(NotDestroyedError) as remaining:
            certificate(registry, package_id)

        assert [f"is in backend {ARCHIVE}"] == [problem.what for problem in remaining.value.problems]
        collect(registry, wait_s=0)
        assert package_id == certified(registry, package_id)["package_id"]
