"""Collection on S3: deletes by the thousand, few requests, and whatever a request comes to, nothing is lost."""

from __future__ import annotations

import secrets
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from artifactstore.domain.retention import RetentionClass
from artifactstore.errors import ClocksDisagreeError, StorageError, StorageUnavailableError
from artifactstore.registry.applying import apply_plan
from artifactstore.registry.collecting import collect
from artifactstore.registry.planning import make_plan
from artifactstore.registry.verify import verify_all
from artifactstore.storage.port import ObjectKey, ObjectKind
from artifactstore.testing.builders import some_bytes
from tests.ledger import LONG
from tests.retention import FILES, SMALL, delete_all_expired, expire, push, without_grace
from tests.s3_proxy import ACTIONS, From, Peace, faulty
from tests.s3_servers import (  # noqa: F401 - fixtures
    BUCKET,
    IN_PARTS,
    S3Proxy,
    S3Server,
    aws_environment,
    failing_network,
    moto,
    open_on,
    rclone,
    server,
)
from tests.support import event_types, fetch, replay_is_exact

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from artifactstore.registry.registry import Registry

EVERY_KIND = [(action, times) for action in ACTIONS if action != "answer 409" for times in (1, 1_000)]
FEW = [("answer 500", 1_000), ("reset before", 1), ("reset after", 1_000), ("cut answer", 1), ("hang", 1)]
BAD_LUCK = EVERY_KIND if LONG else FEW
"""What becomes of requests to delete, and of how many of them."""

# ruff: noqa: F811 - fixtures that are imported are named as arguments


@contextmanager
def collecting(server: S3Server, tmp_path: Path) -> Iterator[tuple[Registry, S3Proxy]]:
    """A store in a bucket, every request to which is watched; its tables are what its log says in the end."""
    with failing_network(server) as proxy, opened(server, proxy.url, tmp_path) as registry:
        yield registry, proxy


@contextmanager
def opened(server: S3Server, url: str, tmp_path: Path, **others: str) -> Iterator[Registry]:
    """A store in a bucket, reached by this URL; its tables are what its log says in the end."""
    with closing(open_on(server, tmp_path / secrets.token_hex(6), ENDPOINT_URL=url, **others)) as registry:
        yield without_grace(registry)
        replay_is_exact(registry)


def keys_in(registry: Registry) -> set[str]:
    return {info.key.path for kind in ObjectKind for info in registry.store.list(kind)}


def recorded_keys(registry: Registry) -> set[str]:
    with registry.catalog.snapshot() as queries:
        found = queries.objects(after=0, limit=1_000)
    return {ObjectKey(ObjectKind(each.kind), each.blake3).path for each in found}


@pytest.fixture
def store(server: S3Server, tmp_path: Path) -> Iterator[tuple[Registry, S3Proxy]]:
    with collecting(server, tmp_path) as opened:
        yield opened


def bytes_in(registry: Registry) -> int:
    return sum(info.size_bytes for kind in ObjectKind for info in registry.store.list(kind))


def test_a_deleted_package_goes_to_the_byte(store: tuple[Registry, S3Proxy]) -> None:
    registry, _ = store
    push(registry)
    frees = delete_all_expired(registry).totals.frees_bytes
    before = bytes_in(registry)

    report = collect(registry, wait_s=0)

    assert (True, frees) == (report.is_done, before - bytes_in(registry))


def test_a_thousand_objects_are_one_request(moto: S3Server, tmp_path: Path) -> None:
    with collecting(moto, tmp_path) as (registry, proxy):
        many = replace(registry, pack_threshold_bytes=0)
        push(many, {f"f{number}": b"%d" % number for number in range(1_199)})
        delete_all_expired(many)
        proxy.reset()

        report = collect(many, wait_s=0)

        assert (True, 1_200) == (report.is_done, report.backends["default"].deleted)
        assert ["HEAD", "POST", "POST"] == [each.method for each in proxy.requests], "the clock, then the objects"


def test_making_a_pack_smaller_is_three_requests(moto: S3Server, tmp_path: Path) -> None:
    with collecting(moto, tmp_path) as (registry, proxy):
        push(registry, SMALL)
        expire(registry)
        kept = push(registry, {"small-1": SMALL["small-1"]}, "run-2")
        apply_plan(registry, make_plan(registry).digest)
        proxy.reset()

        report = collect(registry, wait_s=0)

        assert report.is_done
        assert "v1.pack.repacked" in event_types(registry)
        assert len(proxy.requests) <= 1 + 1 + 3, [f"{each.method} {each.target}" for each in proxy.requests]
        assert {"small-1": SMALL["small-1"]} == fetch(registry, kept, tmp_path / "out")


def test_a_request_that_fails_leaves_what_the_next_run_ends(
    store: tuple[Registry, S3Proxy], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    registry, proxy = store
    push(registry)
    delete_all_expired(registry)
    proxy.plan("POST", "delete", answer=(503, "SlowDown"), times=8)

    with pytest.raises(StorageUnavailableError):
        collect(registry, wait_s=0)
    assert "v1.object.deleted" not in event_types(registry)
    proxy.reset()

    assert collect(registry, wait_s=0).is_done
    again = push(registry, FILES, "run-2")
    assert FILES == fetch(registry, again, tmp_path / "out")


def test_an_answer_that_is_lost_is_asked_for_again(
    store: tuple[Registry, S3Proxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    registry, proxy = store
    push(registry)
    frees = delete_all_expired(registry).totals.frees_bytes
    before = bytes_in(registry)
    proxy.plan("POST", "delete", lose_answer=True)

    report = collect(registry, wait_s=0)

    assert (True, frees) == (report.is_done, before - bytes_in(registry))


@pytest.mark.parametrize("named", ["{}", "another name"])
def test_what_the_answer_says_was_not_deleted_is_not_recorded_as_deleted(
    moto: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    with collecting(moto, tmp_path) as (registry, proxy):
        push(registry)
        delete_all_expired(registry)
        proxy.plan("POST", "delete", keep_first=named)
        proxy.plan("DELETE", answer=(500, "InternalError"), times=8)

        with pytest.raises(StorageUnavailableError):
            collect(registry, wait_s=0)
        left = len(keys_in(registry))  # with the plan's pack and manifest
        assert "v1.object.deleted" not in event_types(registry)
        proxy.reset()
        again = collect(registry, wait_s=0)

        assert (1 + 2, True, 3) == (left, again.is_done, again.backends["default"].deleted)
        assert keys_in(registry) == recorded_keys(registry)


@pytest.mark.parametrize(("action", "times"), BAD_LUCK)
def test_whatever_becomes_of_a_deletion_the_next_run_ends_it(
    moto: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str, times: int
) -> None:
    """Refused, cut off, answered badly, never answered, done when nobody waits for it any more."""
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    with faulty(moto.url) as proxy, opened(moto, proxy.url, tmp_path, READ_TIMEOUT_S="1") as registry:
        push(registry)
        kept = push(
            registry,
            {"small-1": SMALL["small-1"], "kept": b"kept"},
            "run-2",
            retention_class=RetentionClass.PERMANENT_RECORD,
        )
        delete_all_expired(registry)
        proxy.rule = From("DeleteObjects", action, times=times)

        with suppress(StorageError):
            collect(registry, wait_s=0)
        there, recorded = keys_in(registry), recorded_keys(registry)
        gone_and_recorded = event_types(registry).count("v1.object.deleted")
        proxy.rule = Peace()
        proxy.settle()
        again = collect(registry, wait_s=0)

        assert proxy.injected()
        assert there <= recorded, "what is recorded as deleted is deleted"
        assert (True, 3 - gone_and_recorded) == (again.is_done, again.backends["default"].deleted)
        assert keys_in(registry) == recorded_keys(registry)
        assert {"small-1": SMALL["small-1"], "kept": b"kept"} == fetch(registry, kept, tmp_path / "out")
        assert FILES == fetch(registry, push(registry, FILES, "run-3"), tmp_path / "again")
        assert [] == verify_all(registry).damage


@pytest.mark.parametrize("answer", [(501, "NotImplemented"), (405, "MethodNotAllowed"), (400, "MissingContentMD5")])
def test_a_server_that_cannot_delete_many_is_asked_one_by_one(
    moto: S3Server, tmp_path: Path, answer: tuple[int, str]
) -> None:
    with collecting(moto, tmp_path) as (registry, proxy):
        push(registry)
        delete_all_expired(registry)
        proxy.plan("POST", "delete", answer=answer, times=1)

        report = collect(registry, wait_s=0)

        assert (True, 3) == (report.is_done, len(proxy.asked("DELETE")))
        assert [] == verify_all(registry).damage


def test_nothing_is_collected_by_a_clock_that_is_not_the_servers(
    moto: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collecting(moto, tmp_path) as (registry, _):
        push(registry, {"a": some_bytes(100)})
        delete_all_expired(registry)
        an_hour_ago = registry.clock() - 3_600_000_000
        monkeypatch.setattr(type(registry.store), "server_time", lambda _: an_hour_ago)

        with pytest.raises(ClocksDisagreeError, match="backend 'default'"):
            collect(registry, wait_s=0)

        assert "v1.object.condemned" not in event_types(registry)
