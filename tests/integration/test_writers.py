"""Several writers at the same moment, on two open stores as two servers have them: what is decided holds."""

from __future__ import annotations

import io
import threading
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from artifactstore import failpoints
from artifactstore.bootstrap import open_registry
from artifactstore.config import Settings
from artifactstore.domain.instant import Instant
from artifactstore.domain.package import PackageReceipt
from artifactstore.registry.events import list_events
from artifactstore.registry.finalizing import finalize
from artifactstore.registry.idempotency import Attempt
from artifactstore.registry.ingest import ingest
from artifactstore.registry.metadata_schemas import register_schema
from artifactstore.registry.open_packages import abandon, expire_open_packages, find_open_package, open_package
from artifactstore.registry.packages import find_package, list_packages
from artifactstore.registry.receiving import Announced, receive_file
from artifactstore.registry.retention import extend_retention, place_hold, release_hold, sweep
from artifactstore.registry.tokens import TokenUses, create_token, revoke_token
from artifactstore.registry.uploads import append, begin_upload
from artifactstore.registry.verify import verify_all
from artifactstore.storage.port import ObjectKind
from artifactstore.testing.builders import package_draft, some_bytes
from tests.at_once import at_once, kinds
from tests.support import event_types, flip_byte, objects_of_kind, replay_is_exact, start_cli, write_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from artifactstore.registry.registry import Registry

SHARED = {f"shared-{n}": some_bytes(500, n) for n in range(50)}


@pytest.fixture
def servers(home: Path, database: dict[str, str]) -> Iterator[list[Registry]]:
    """The same store, opened twice; sound when the test is over."""
    settings = Settings.from_environment({"ARTIFACTSTORE_HOME": str(home), **database})
    with closing(open_registry(settings)) as one, closing(open_registry(settings)) as another:
        yield [one, another]
        assert replay_is_exact(one).events == len(event_types(another))
        assert [] == [damage for damage in verify_all(one).damage if damage.package_id]


def opened(registry: Registry, files: dict[str, bytes] | None = None, *, name: str = "pushed") -> str:
    """An open package that has received these files."""
    draft = package_draft({}, external_id=name)
    package_id = open_package(registry, draft, None, as_revision=False, readable_producers=None).package_id
    for path, data in (files or {}).items():
        receive_file(registry, package_id, Announced(path), io.BytesIO(data).read)
    return package_id


def test_one_run_stored_sixteen_times_is_one_package(servers: list[Registry]) -> None:
    answers = at_once(16, lambda n: ingest(servers[n % 2], package_draft({"a": b"1"})))

    assert {"PackageReceipt": 16} == kinds(answers), answers
    assert 1 == len(list_packages(servers[0], limit=10))


def test_one_content_without_an_external_id_is_one_package(servers: list[Registry]) -> None:
    answers = at_once(8, lambda n: ingest(servers[n % 2], package_draft({"a": b"1"}, external_id=None)))

    assert {"PackageReceipt": 8} == kinds(answers), answers
    assert 1 == len(list_packages(servers[0], limit=10))


def test_eight_changed_contents_are_eight_revisions(servers: list[Registry]) -> None:
    answers = at_once(8, lambda n: ingest(servers[n % 2], package_draft({"a": b"%d" % n}), as_revision=True))

    assert {"PackageReceipt": 8} == kinds(answers), answers
    packages = list_packages(servers[0], limit=10)
    assert list(range(1, 9)) == sorted(package.revision for package in packages)
    assert 7 == len({package.supersedes for package in packages} - {None})


def test_of_eight_contents_under_one_name_one_is_recorded(servers: list[Registry]) -> None:
    answers = at_once(8, lambda n: ingest(servers[n % 2], package_draft({"a": b"%d" % n})))

    assert {"PackageReceipt": 1, "RunChangedError": 7} == kinds(answers), answers


def test_runs_that_share_blobs_are_recorded_side_by_side_without_a_gap(servers: list[Registry]) -> None:
    seen, done = list[int](), threading.Event()

    def follow() -> None:
        while not done.is_set() or len(seen) < 4 * 24:
            seen.extend(event.seq for event in list_events(servers[1], after=seen[-1] if seen else 0, limit=7))

    def store_six(worker: int) -> None:
        for number in range(6):
            files = dict(sorted({**SHARED, "own": b"%d %d" % (worker, number)}.items(), reverse=worker % 2 == 0))
            ingest(servers[worker % 2], package_draft(files, external_id=f"{worker} {number}"))

    following = threading.Thread(target=follow)
    following.start()
    answers = at_once(4, store_six)
    done.set()
    following.join()

    assert {"NoneType": 4} == kinds(answers), answers
    assert list(range(1, 4 * 24 + 1)) == seen
    with servers[0].catalog.snapshot() as queries:
        assert [(50 + 24,)] == list(queries.connection.execute("SELECT count(*) FROM blob"))


def test_runs_that_bring_the_same_large_files_in_other_orders_do_not_wait_for_each_other(
    servers: list[Registry],
) -> None:
    """A database that broke one of two off would have it stored and recorded once more."""
    large = [some_bytes(2**20 + n, n) for n in range(6)]
    recorded: list[str] = []
    failpoints.arm(lambda step: recorded.append(step) if step == "record.before-transaction" else None)

    def act(number: int) -> object:
        turned = large[number % 6 :] + large[: number % 6]
        files = {f"f{n}": data for n, data in enumerate(turned if number % 2 else reversed(turned))}
        return ingest(servers[number % 2], package_draft(files, external_id=f"run-{number}"))

    answers = at_once(8, act)
    failpoints.arm(None)

    assert {"PackageReceipt": 8} == kinds(answers), answers
    assert 8 == len(recorded)
    assert [] == verify_all(servers[0]).damage


def test_a_package_finalized_eight_times_is_recorded_once(servers: list[Registry]) -> None:
    package_id = opened(servers[0], {"a": b"1", "b": b"2"})

    answers = at_once(8, lambda n: finalize(servers[n % 2], package_id, readable_producers=None))

    receipts = {answer for answer in answers if isinstance(answer, PackageReceipt)}
    assert {"PackageReceipt": 8} == kinds(answers), answers
    assert [package_id] == [receipt.package_id for receipt in receipts]
    assert 1 == event_types(servers[0]).count("v1.package.opened")


@pytest.mark.parametrize("late", ["abandon", "expire"])
def test_a_package_is_finalized_or_given_up_and_nothing_between(servers: list[Registry], late: str) -> None:
    far = Instant(servers[0].clock() + 10**12)

    def act(number: int) -> object:
        if number < 2:
            return finalize(servers[number], package_id, readable_producers=None)
        if late == "abandon":
            return abandon(servers[number % 2], package_id)
        return expire_open_packages(replace(servers[number % 2], clock=lambda: far))

    for attempt in range(4):
        package_id = opened(servers[0], {"a": b"1"}, name=f"pushed {attempt}")
        answers = at_once(4, act)

        is_recorded = package_id in {package.package_id for package in list_packages(servers[0], limit=100)}
        assert is_recorded == any(isinstance(answer, PackageReceipt) for answer in answers), answers
        still = find_open_package(servers[1], package_id)
        assert still is None or (is_recorded and late == "abandon" and still.receipt is not None)


def test_one_path_takes_one_content(servers: list[Registry]) -> None:
    package_id = opened(servers[0])

    answers = at_once(
        6, lambda n: receive_file(servers[n % 2], package_id, Announced("a"), io.BytesIO(b"%d" % (n % 3)).read)
    )

    assert {"PathTakenError": 4, "Received": 2} == kinds(answers), answers
    finalize(servers[0], package_id, readable_producers=None)


def test_one_path_has_one_upload_and_a_part_is_added_once(servers: list[Registry]) -> None:
    package_id = opened(servers[0])

    begun = at_once(4, lambda n: begin_upload(servers[n % 2], package_id, Announced("a"), 10))

    uploads = {answer[0].upload_id for answer in begun if isinstance(answer, tuple)}
    assert {"tuple": 4} == kinds(begun), begun
    assert 1 == len(uploads)
    upload_id = uploads.pop()
    added = at_once(4, lambda n: append(servers[n % 2], package_id, upload_id, 0, io.BytesIO(b"12345").read))
    assert {"UploadOffsetError": 3, "UploadRecord": 1} == kinds(added), added
    abandon(servers[0], package_id)


def test_a_repeated_request_has_one_effect(servers: list[Registry]) -> None:
    package_id = ingest(servers[0], package_draft()).package_id
    attempt = Attempt("token:ci", "key-1", bytes(32))

    answers = at_once(6, lambda n: place_hold(servers[n % 2], package_id, reason="audit", attempt=attempt))

    assert {"str": 6} == kinds(answers), answers
    assert 1 == len(set(answers)) == len(find_package(servers[0], package_id)[1])


def test_a_hold_is_released_once(servers: list[Registry]) -> None:
    package_id = ingest(servers[0], package_draft()).package_id
    hold_id = place_hold(servers[0], package_id, reason="audit")

    answers = at_once(4, lambda n: release_hold(servers[n % 2], package_id, hold_id, reason=f"{n}"))

    assert {"HoldUnknownError": 3, "NoneType": 1} == kinds(answers), answers


def test_retention_only_grows_however_many_extend_it(servers: list[Registry]) -> None:
    package_id = ingest(servers[0], package_draft()).package_id
    far = servers[0].clock() + 10**15

    answers = at_once(6, lambda n: extend_retention(servers[n % 2], package_id, Instant(far + n), reason="asked for"))

    assert {"NoneType", "RetentionInvalidError"} >= set(kinds(answers)), answers
    assert far + 5 == find_package(servers[0], package_id)[0].expires_at


def test_two_sweeps_mark_each_package_once_and_none_that_was_held_before(servers: list[Registry]) -> None:
    packages = [ingest(servers[0], package_draft(external_id=f"run-{n}")).package_id for n in range(12)]
    far = Instant(servers[0].clock() + 400 * 86_400 * 1_000_000)
    later = [replace(server, clock=lambda: far) for server in servers]

    def act(number: int) -> list[str]:
        if number < 3:
            return sweep(later[number % 2])
        place_hold(later[number % 2], packages[number], reason="audit")
        return []

    answers = at_once(6, act)

    assert {"list": 6} == kinds(answers), answers
    swept = [package_id for answer in answers if isinstance(answer, list) for package_id in answer]
    assert len(set(swept)) == len(swept)
    assert set(packages) - set(packages[3:6]) <= set(swept)


def test_one_name_has_one_token(servers: list[Registry]) -> None:
    created = at_once(6, lambda n: create_token(servers[n % 2], "ci", ["read"]))
    revoked = at_once(6, lambda n: revoke_token(servers[n % 2], "ci"))

    assert {"TokenExistsError": 5, "tuple": 1} == kinds(created), created
    assert {"TokenRecord": 1, "TokenUnknownError": 5} == kinds(revoked), revoked


def test_the_uses_of_tokens_are_written_by_several_servers(servers: list[Registry]) -> None:
    names = [create_token(servers[0], f"t{n}", ["read"])[1].token_id for n in range(40)]

    def flush(number: int) -> None:
        uses = TokenUses()
        for token_id in names if number % 2 else reversed(names):
            uses.note(token_id, Instant(1000 + number))
        uses.flush(servers[number % 2])

    assert {"NoneType": 6} == kinds(at_once(6, flush))
    with servers[0].catalog.snapshot() as queries:
        assert [(1005,)] == list(queries.connection.execute("SELECT DISTINCT last_used_at FROM token"))


def test_one_slug_has_one_schema(servers: list[Registry]) -> None:
    answers = at_once(6, lambda n: register_schema(servers[n % 2], "t.v1", {"type": "object", "title": f"{n % 2}"}))

    assert {"SchemaConflictError": 3, "SchemaRecord": 3} == kinds(answers), answers
    assert 1 == event_types(servers[0]).count("v1.metadata_schema.registered")


def test_damage_is_found_and_healed_at_the_same_time(servers: list[Registry], home: Path) -> None:
    files = {f"f{n}": some_bytes(2000, n) for n in range(20)}
    ingest(servers[0], package_draft(files))
    flip_byte(objects_of_kind(home, ObjectKind.PACK)[0], 100)
    verify_all(servers[0])

    def act(number: int) -> object:
        server = servers[number % 2]
        return verify_all(server) if number < 3 else ingest(server, package_draft(files))

    answers = at_once(6, act)

    assert {"PackageReceipt": 3, "VerifyReport": 3} == kinds(answers), answers
    replay_is_exact(servers[0])
    ingest(servers[0], package_draft(files))


def test_processes_that_push_one_run_get_one_package(
    home: Path, database: dict[str, str], tmp_path: Path, servers: list[Registry]
) -> None:
    folder = write_tree(tmp_path / "run", SHARED)
    push = ("push", str(folder), "--producer", "tester", "--external-id", "one")

    running = [start_cli(home, *push, settings=database) for _ in range(4)]
    answers = [(*process.communicate(timeout=120), process.returncode) for process in running]

    assert [0] * 4 == [code for *_, code in answers], answers
    assert 1 == len({stdout.split('"package_id": ')[1][:38] for stdout, *_ in answers})
    assert 1 == len(list_packages(servers[0], limit=10))
