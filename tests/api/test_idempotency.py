"""The same request again, with a key or without, by one client or by many at once: one effect."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from artifactstore.testing.builders import some_bytes
from tests.api.pushing import (
    check_store,
    finalize,
    fresh_files,
    missing,
    open_,
    opened,
    problem,
    push,
    send_zip,
    unique,
    zipped,
)
from tests.service import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.service import Answer, Server

CLIENTS = 8


def keyed(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key}


def at_once(count: int, act: Callable[[int], Any]) -> list[Any]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(act, range(count)))


def test_the_same_opening_with_its_key_is_the_same_package(server: Server) -> None:
    key, files, body = unique("key"), fresh_files(3), {"external_id": unique(), "metadata": {"a": 1, "b": 2}}

    answers = [open_(server, files, headers=keyed(key), **body) for _ in range(3)]

    assert [201] * 3 == [answer.status for answer in answers]
    assert 3 == len(answers[0].json["missing"])
    assert answers[0].json == answers[1].json == answers[2].json


def test_without_a_key_every_opening_is_a_package_of_its_own(server: Server) -> None:
    external_id = unique()

    assert opened(server, external_id=external_id) != opened(server, external_id=external_id)


def test_the_key_answers_what_the_package_has_become(server: Server) -> None:
    key, files = unique("key"), fresh_files(2)
    package_id = open_(server, headers=keyed(key)).json["package_id"]
    send_zip(server, package_id, zipped(files))
    receipt = finalize(server, package_id).json

    again = open_(server, headers=keyed(key))

    assert (200, "finalized", package_id) == (again.status, again.json["status"], again.json["package_id"])
    assert receipt == again.json["receipt"]


def test_the_key_of_a_declared_package_answers_it_after_finalize(server: Server) -> None:
    key, files, name = unique("key"), fresh_files(2), unique()
    package_id = open_(server, files, headers=keyed(key), external_id=name).json["package_id"]
    send_zip(server, package_id, zipped(files))
    receipt = finalize(server, package_id).json

    again = open_(server, files, headers=keyed(key), external_id=name)

    assert (200, package_id, []) == (again.status, again.json["package_id"], again.json["missing"])
    assert {**receipt, "reused_existing": True, "stored_bytes": 0} == again.json["receipt"]


def test_another_request_under_a_key_is_refused(server: Server) -> None:
    key = unique("key")
    open_(server, headers=keyed(key), external_id=unique())

    answer = open_(server, headers=keyed(key), external_id=unique())

    assert (409, "IDEMPOTENCY_MISMATCH") == problem(answer)


def test_another_request_under_a_key_is_refused_also_where_its_content_is_known(server: Server) -> None:
    key, files = unique("key"), fresh_files(2)
    push(server, files)
    open_(server, headers=keyed(key), external_id=unique())

    answer = open_(server, files, headers=keyed(key))

    assert (409, "IDEMPOTENCY_MISMATCH") == problem(answer)


def test_a_key_is_its_tokens_own(server: Server) -> None:
    key = unique("key")

    mine = open_(server, headers=keyed(key))
    theirs = open_(server, headers=keyed(key), token="admin")

    assert (201, 201) == (mine.status, theirs.status)
    assert mine.json["package_id"] != theirs.json["package_id"]


def test_a_refused_opening_leaves_its_key_free(server: Server) -> None:
    key = unique("key")
    refused = open_(server, headers=keyed(key), external_id="a\nb")

    answer = open_(server, headers=keyed(key), external_id=unique())

    assert (400, 201) == (refused.status, answer.status)


def test_a_key_of_a_package_that_was_given_up_opens_another(server: Server) -> None:
    key = unique("key")
    first = open_(server, headers=keyed(key)).json["package_id"]
    server.ask("DELETE", f"/packages/{first}", token="writer")

    second = open_(server, headers=keyed(key))

    assert 201 == second.status
    assert first != second.json["package_id"]


@pytest.mark.parametrize("key", ["", "x" * 129, "two words", "gr\xf6\xdfe"])
def test_a_key_that_is_none_is_refused(server: Server, key: str) -> None:
    assert (400, "REQUEST_INVALID") == problem(open_(server, headers=keyed(key)))


def test_a_hold_with_a_key_is_placed_once(server: Server) -> None:
    package_id, key = push(server, fresh_files(1))["package_id"], unique("key")

    def hold(reason: str) -> Answer:
        body = {"reason": reason}
        return server.ask("POST", f"/packages/{package_id}/holds", token="writer", headers=keyed(key), json_body=body)

    answers = [hold("audit") for _ in range(3)]
    other = hold("another reason")

    holds = server.ask("GET", f"/packages/{package_id}/holds", token="reader").json["holds"]
    assert [201] * 3 == [answer.status for answer in answers]
    assert {holds[0]["hold_id"]} == {answer.json["hold_id"] for answer in answers}
    assert (1, (409, "IDEMPOTENCY_MISMATCH")) == (len(holds), problem(other))


def test_holds_without_a_key_are_two(server: Server) -> None:
    package_id = push(server, fresh_files(1))["package_id"]

    for _ in range(2):
        server.ask("POST", f"/packages/{package_id}/holds", token="writer", json_body={"reason": "audit"})

    assert 2 == len(server.ask("GET", f"/packages/{package_id}/holds", token="reader").json["holds"])


def test_an_extension_with_a_key_happens_once(server: Server) -> None:
    package_id, key = push(server, fresh_files(1))["package_id"], unique("key")
    body = {"new_expires_at": "2090-01-01T00:00:00Z", "reason": "release"}
    path = f"/packages/{package_id}/retention/extensions"

    answers = [server.ask("POST", path, token="writer", headers=keyed(key), json_body=body) for _ in range(2)]
    without = server.ask("POST", path, token="writer", json_body=body)

    events = server.ask("GET", f"/events?subject={package_id}", token="reader").json["events"]
    assert [201, 201] == [answer.status for answer in answers]
    assert answers[0].json == answers[1].json
    assert (400, "RETENTION_INVALID") == problem(without)
    assert 1 == [event["type"] for event in events].count("v1.retention.extended")


def test_a_key_stands_for_one_request_whatever_its_path(server: Server) -> None:
    first, second = (push(server, fresh_files(1))["package_id"] for _ in range(2))
    key, body = unique("key"), {"reason": "audit"}

    answers = [
        server.ask("POST", f"/packages/{package_id}/holds", token="writer", headers=keyed(key), json_body=body)
        for package_id in (first, second)
    ]

    assert (201, (409, "IDEMPOTENCY_MISMATCH")) == (answers[0].status, problem(answers[1]))


# at once


def test_finalizing_at_once_gives_every_client_the_same_receipt(server: Server) -> None:
    files = fresh_files(20)
    package_id = opened(server, files, external_id=unique())
    send_zip(server, package_id, zipped(files))

    answers = at_once(CLIENTS, lambda _: finalize(server, package_id))

    assert [200] * CLIENTS == [answer.status for answer in answers]
    assert 1 == len({answer.body for answer in answers})
    events = server.ask("GET", f"/events?subject={package_id}", token="reader").json["events"]
    assert 1 == [event["type"] for event in events].count("v1.package.finalized")


def test_opening_at_once_with_one_key_opens_one_package(server: Server) -> None:
    key, external_id = unique("key"), unique()

    answers = at_once(CLIENTS, lambda _: open_(server, headers=keyed(key), external_id=external_id))

    assert [201] * CLIENTS == [answer.status for answer in answers]
    assert 1 == len({answer.json["package_id"] for answer in answers})


@pytest.fixture(scope="module", params=[1, 2], ids=["one process", "two processes"])
def own_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("own") / "home", "--workers", str(request.param)) as running:
        yield running


@pytest.mark.parametrize("named", [True, False], ids=["with an external id", "without"])
@pytest.mark.parametrize("with_key", [True, False], ids=["with a key", "without a key"])
def test_the_same_content_from_many_clients_at_once_is_one_package(
    own_server: Server, named: bool, with_key: bool
) -> None:
    """R16."""
    files = {f"f{number}": some_bytes(700, hash(unique()) + number) for number in range(10)}
    package = {"external_id": unique()} if named else {}
    headers = keyed(unique("key")) if with_key else {}

    def whole_push(_: int) -> Any:
        state = open_(own_server, files, headers=headers, **package).json
        if state["receipt"] is None:
            sent = send_zip(own_server, state["package_id"], zipped(files))
            assert 200 == sent.status or (409, "PACKAGE_STATE") == problem(sent), sent.body
            answer = finalize(own_server, state["package_id"])
            assert answer.status == 200, answer.body
            return answer.json
        return state["receipt"]

    receipts = at_once(CLIENTS, whole_push)

    assert 1 == len({receipt["package_id"] for receipt in receipts})
    assert 1 == len({receipt["manifest_digest"] for receipt in receipts})
    new = [receipt for receipt in receipts if not receipt["reused_existing"]]
    assert 1 == len({receipt["package_id"] for receipt in new})
    assert with_key or len(new) == 1
    events = own_server.ask("GET", f"/events?subject={new[0]['package_id']}", token="reader").json["events"]
    assert 1 == [event["type"] for event in events].count("v1.package.finalized")


def test_one_external_id_with_other_content_from_each_client_has_one_winner(own_server: Server) -> None:
    external_id = unique()
    packages = [opened(own_server, external_id=external_id) for _ in range(CLIENTS)]
    for package_id in packages:
        send_zip(own_server, package_id, zipped(fresh_files(2)))

    answers = at_once(CLIENTS, lambda number: finalize(own_server, packages[number]))

    assert [200] + [409] * (CLIENTS - 1) == sorted(answer.status for answer in answers)
    assert {"RUN_CHANGED"} == {answer.json["code"] for answer in answers if answer.status == 409}


def test_revisions_from_many_clients_at_once_are_numbered_without_gap(own_server: Server) -> None:
    external_id = unique()
    contents = [fresh_files(2) for _ in range(CLIENTS)]

    receipts = at_once(CLIENTS, lambda n: push(own_server, contents[n], external_id=external_id, revision=True))

    assert list(range(1, CLIENTS + 1)) == sorted(receipt["revision"] for receipt in receipts)


def test_a_package_that_is_given_up_while_it_is_finalized_is_one_or_the_other(own_server: Server) -> None:
    for _ in range(10):
        package_id = opened(own_server, external_id=unique())
        send_zip(own_server, package_id, zipped(fresh_files(2)))

        done, given_up = at_once(
            2,
            lambda who, it=package_id: (
                finalize(own_server, it) if who == 0 else own_server.ask("DELETE", f"/packages/{it}", token="writer")
            ),
        )

        assert (done.status, given_up.status) in {(200, 409), (404, 204)}
        if done.status == 200:
            assert done.json == missing(own_server, package_id)["receipt"]


def test_afterwards_the_store_is_whole(own_server: Server) -> None:
    """After every push above."""
    assert check_store(own_server)
