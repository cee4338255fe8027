"""Retention, holds and sweep over HTTP."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from artifactstore.domain.identifiers import new_uuid7
from artifactstore.domain.instant import MICROSECONDS_PER_DAY, Instant, instant_text, system_clock
from artifactstore.domain.retention import RetentionClass
from tests.api.stored import draft_of, record, record_in
from tests.service import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.service import Answer, Server

LATER = "2031-05-06T07:08:09+02:00"
LATER_IN_UTC = "2031-05-06T05:08:09.000000Z"


@pytest.fixture
def package_id(server: Server) -> str:
    return record(server, {"x": new_uuid7().encode()})  # content of its own: the same again would be the same package


def retention_of(server: Server, package_id: str) -> dict[str, Any]:
    answer = server.ask("GET", f"/packages/{package_id}/retention", token="reader")
    assert answer.status == 200
    return dict(answer.json)


def extend(server: Server, package_id: str, to: object = LATER, *, token: str = "writer", **headers: str) -> Answer:
    return server.ask(
        "POST", f"/packages/{package_id}/retention/extensions", token=token, headers=headers,
        json_body={"new_expires_at": to, "reason": "release 4.2"},
    )  # fmt: skip


def hold(server: Server, package_id: str, *, token: str = "writer", reason: object = "audit", **headers: str) -> Answer:
    return server.ask(
        "POST", f"/packages/{package_id}/holds", token=token, headers=headers, json_body={"reason": reason}
    )


def release(server: Server, package_id: str, hold_id: str, *, token: str = "admin") -> Answer:
    return server.ask(
        "POST", f"/packages/{package_id}/holds/{hold_id}/release", token=token, json_body={"reason": "done"}
    )


# extensions


def test_an_extension_moves_the_expiry(server: Server, package_id: str) -> None:
    before = retention_of(server, package_id)

    answer = extend(server, package_id)

    assert 201 == answer.status
    assert {**before, "expires_at": LATER_IN_UTC} == answer.json == retention_of(server, package_id)
    assert ("raw-evidence", 30, "finalized", []) == tuple(
        before[name] for name in ("retention_class", "duration_days", "status", "holds")
    )


def test_nothing_shortens_retention(server: Server, package_id: str) -> None:
    assert 201 == extend(server, package_id).status

    for earlier in (LATER, "2031-05-06T05:08:08Z", "1999-01-01T00:00:00Z"):
        answer = extend(server, package_id, earlier)

        assert (400, "RETENTION_INVALID") == (answer.status, answer.json["code"])
    assert LATER_IN_UTC == retention_of(server, package_id)["expires_at"]


def test_what_never_expires_cannot_be_extended(server: Server) -> None:
    with closing(server.registry()) as registry:
        package_id = record_in(registry, draft_of({"x": b"for ever"}, retention=RetentionClass.PERMANENT_RECORD))

    assert retention_of(server, package_id)["expires_at"] is None
    assert "RETENTION_INVALID" == extend(server, package_id).json["code"]


@pytest.mark.parametrize(
    "time", ["2031-05-06T07:08:09", "2031-05-06", "tomorrow", "", "2031-13-01T00:00:00Z", "10000-01-01T00:00:00Z",
             "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", 1_900_000_000, None],
)  # fmt: skip
def test_a_time_that_could_mean_another_is_refused(server: Server, package_id: str, time: object) -> None:
    """Above all one without an offset from UTC."""
    before = retention_of(server, package_id)

    answer = extend(server, package_id, time)

    assert 400 == answer.status, answer.body
    assert answer.json["code"] in {"USAGE", "REQUEST_INVALID", "RETENTION_INVALID"}
    assert before == retention_of(server, package_id)


def test_an_extension_under_a_key_happens_once(server: Server, package_id: str) -> None:
    first = extend(server, package_id, **{"Idempotency-Key": f"key-{package_id}"})
    again = extend(server, package_id, **{"Idempotency-Key": f"key-{package_id}"})
    other = extend(server, package_id, "2032-01-01T00:00:00Z", **{"Idempotency-Key": f"key-{package_id}"})

    assert (201, 201) == (first.status, again.status)
    assert first.json == again.json
    assert (409, "IDEMPOTENCY_MISMATCH") == (other.status, other.json["code"])


@pytest.mark.parametrize("body", [{}, {"reason": "x"}, {"new_expires_at": LATER}, [], "x", {"x": 1},
                                  {"new_expires_at": LATER, "reason": ""}, {"new_expires_at": LATER, "reason": 1},
                                  {"new_expires_at": LATER, "reason": "x" * 2_001},
                                  {"new_expires_at": LATER, "reason": "x", "class": "transient"}])  # fmt: skip
def test_an_extension_that_says_something_else_is_refused(server: Server, package_id: str, body: object) -> None:
    answer = server.ask("POST", f"/packages/{package_id}/retention/extensions", token="writer", json_body=body)

    assert 400 == answer.status, answer.body


# holds


def test_a_hold_is_placed_shown_and_released(server: Server, package_id: str) -> None:
    before = retention_of(server, package_id)
    placed = hold(server, package_id)
    hold_id = placed.json["hold_id"]
    while_held = server.ask("GET", f"/packages/{package_id}/holds", token="reader").json["holds"]

    released = release(server, package_id, hold_id)

    assert (201, 200) == (placed.status, released.status)
    assert {"hold_id": hold_id, **before, "holds": while_held} == placed.json
    [shown] = while_held
    assert (hold_id, True, "audit", None) == tuple(shown[k] for k in ("hold_id", "in_force", "reason", "released_at"))
    [after] = server.ask("GET", f"/packages/{package_id}/holds").json["holds"]
    assert (hold_id, False, "done") == (after["hold_id"], after["in_force"], after["release_reason"])
    assert [after] == released.json["holds"] == server.ask("GET", f"/packages/{package_id}").json["holds"]
    assert ("token:writer", "token:admin") == (after["placed_by"], after["released_by"])


def test_releasing_a_hold_needs_admin(server: Server, package_id: str) -> None:
    hold_id = hold(server, package_id).json["hold_id"]

    answers = {token: release(server, package_id, hold_id, token=token) for token in ("writer", "reader", "other")}

    assert {(403, "FORBIDDEN")} == {(answer.status, answer.json["code"]) for answer in answers.values()}
    assert [True] == [each["in_force"] for each in retention_of(server, package_id)["holds"]]


def test_a_hold_is_released_once_and_only_where_it_is(server: Server, package_id: str) -> None:
    hold_id = hold(server, package_id).json["hold_id"]
    another = record(server, {"x": b"another package"})

    elsewhere = release(server, another, hold_id)
    unknown = release(server, package_id, "0199")
    first, second = release(server, package_id, hold_id), release(server, package_id, hold_id)

    assert (404, 404, 200, 404) == (elsewhere.status, unknown.status, first.status, second.status)
    assert {"HOLD_UNKNOWN"} == {answer.json["code"] for answer in (elsewhere, unknown, second)}


def test_a_hold_under_a_key_is_placed_once(server: Server, package_id: str) -> None:
    first, again = (hold(server, package_id, **{"Idempotency-Key": f"hold-{package_id}"}) for _ in range(2))
    other = hold(server, package_id, reason="another", **{"Idempotency-Key": f"hold-{package_id}"})
    theirs = hold(server, package_id, token="admin", **{"Idempotency-Key": f"hold-{package_id}"})

    assert first.json == again.json
    assert (409, "IDEMPOTENCY_MISMATCH") == (other.status, other.json["code"])
    assert (201, 2) == (theirs.status, len(retention_of(server, package_id)["holds"]))


@pytest.mark.parametrize(
    ("token", "status", "code"),
    [("reader", 403, "FORBIDDEN"), ("other", 404, "PACKAGE_UNKNOWN"), ("other-reader", 404, "PACKAGE_UNKNOWN"),
     (None, 401, "UNAUTHENTICATED")],
)  # fmt: skip
def test_who_may_not_write_changes_no_retention(
    server: Server, package_id: str, token: str | None, status: int, code: str
) -> None:
    before = retention_of(server, package_id)
    body = {"reason": "audit"}

    held = server.ask("POST", f"/packages/{package_id}/holds", token=token, json_body=body)
    extended = server.ask(
        "POST", f"/packages/{package_id}/retention/extensions", token=token,
        json_body={**body, "new_expires_at": LATER},
    )  # fmt: skip

    assert [(status, code)] * 2 == [(held.status, held.json["code"]), (extended.status, extended.json["code"])]
    assert before == retention_of(server, package_id)


def test_a_package_that_is_not_there_has_no_retention(server: Server) -> None:
    for method, path in (("GET", "retention"), ("GET", "holds"), ("POST", "holds")):
        answer = server.ask(method, f"/packages/0199/{path}", json_body={"reason": "x"} if method == "POST" else None)

        assert (404, "PACKAGE_UNKNOWN") == (answer.status, answer.json["code"])


# sweep


@pytest.fixture(scope="module")
def swept_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("swept") / "home") as server:
        yield server


@pytest.fixture
def aged(swept_server: Server) -> tuple[Server, dict[str, str]]:
    """A server and packages that were recorded ten days ago; a transient one is overdue since three."""
    sweep(swept_server)
    long_ago = Instant(system_clock() - 10 * MICROSECONDS_PER_DAY)
    with closing(swept_server.registry()) as registry:
        earlier = replace(registry, clock=lambda: long_ago)
        packages = {
            name: record_in(earlier, draft_of({"x": new_uuid7().encode()}, retention=retention))
            for name, retention in {
                "overdue": RetentionClass.TRANSIENT,
                "held": RetentionClass.TRANSIENT,
                "extended": RetentionClass.TRANSIENT,
                "longer": RetentionClass.RAW_EVIDENCE,
                "for ever": RetentionClass.PERMANENT_RECORD,
            }.items()
        }
    assert hold(swept_server, packages["held"]).status == 201
    assert extend(swept_server, packages["extended"]).status == 201
    return swept_server, packages


def sweep(server: Server, token: str = "admin", **body: object) -> Answer:
    return server.ask("POST", "/retention:sweep", token=token, json_body=body)


def test_a_dry_run_marks_nothing(aged: tuple[Server, dict[str, str]]) -> None:
    server, packages = aged

    answer = sweep(server, dry_run=True)

    assert (200, {"would_expire": [packages["overdue"]], "count": 1}) == (answer.status, answer.json)
    assert "finalized" == retention_of(server, packages["overdue"])["status"]


def test_a_sweep_marks_what_is_overdue_and_nothing_else(aged: tuple[Server, dict[str, str]]) -> None:
    server, packages = aged

    answer, again = sweep(server), sweep(server, dry_run=False)

    assert (200, {"expired": [packages["overdue"]], "count": 1}) == (answer.status, answer.json)
    assert {"expired": [], "count": 0} == again.json
    statuses = {name: retention_of(server, package_id)["status"] for name, package_id in packages.items()}
    assert {name: "expired" if name == "overdue" else "finalized" for name in packages} == statuses
    assert retention_of(server, packages["overdue"])["expired_at"] is not None


def test_what_is_expired_is_readable_and_can_be_held(aged: tuple[Server, dict[str, str]]) -> None:
    server, packages = aged
    sweep(server)

    held = hold(server, packages["overdue"])

    assert (201, "expired") == (held.status, retention_of(server, packages["overdue"])["status"])
    assert 200 == server.ask("GET", f"/packages/{packages['overdue']}/files/x").status


def test_what_is_expired_is_finalized_again_by_an_extension(aged: tuple[Server, dict[str, str]]) -> None:
    server, packages = aged
    sweep(server)

    extended = extend(server, packages["overdue"])

    assert (201, "finalized", None) == (extended.status, extended.json["status"], extended.json["expired_at"])
    assert [] == sweep(server).json["expired"]


def test_an_extension_to_what_has_passed_keeps_nothing_that_is_expired(aged: tuple[Server, dict[str, str]]) -> None:
    server, packages = aged
    sweep(server)
    yesterday = instant_text(system_clock() - MICROSECONDS_PER_DAY)

    refused = extend(server, packages["overdue"], yesterday)

    assert (400, "RETENTION_INVALID") == (refused.status, refused.json["code"])
    assert "expired" == retention_of(server, packages["overdue"])["status"]


def test_a_hold_that_is_released_lets_the_next_sweep_mark(aged: tuple[Server, dict[str, str]]) -> None:
    server, packages = aged
    [held] = retention_of(server, packages["held"])["holds"]
    assert packages["held"] not in sweep(server).json["expired"]

    release(server, packages["held"], held["hold_id"])

    assert [packages["held"]] == sweep(server).json["expired"]


@pytest.mark.parametrize("token", ["writer", "reader"])
def test_sweeping_needs_admin(server: Server, token: str) -> None:
    assert (403, "FORBIDDEN") == ((answer := sweep(server, token, dry_run=True)).status, answer.json["code"])


@pytest.mark.parametrize("body", [{"dry_run": "perhaps"}, {"dry": True}, [], None])
def test_a_sweep_that_says_something_else_is_refused(server: Server, body: object) -> None:
    """A misspelt dry run must not sweep."""
    answer = server.ask("POST", "/retention:sweep", body=b"" if body is None else None, json_body=body)

    assert answer.status in {400, 415}, answer.body
