"""The upkeep of a store over HTTP and by the command line from afar, and what `status` says of it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from artifactstore.api.status_models import DutyState, StoreState
from artifactstore.api.upkeep_models import Healed, Reconciled, Sealed
from artifactstore.domain.instant import MICROSECONDS_PER_DAY
from artifactstore.domain.retention import RetentionClass
from artifactstore.registry.duties import run_due
from artifactstore.registry.retention import sweep
from artifactstore.registry.store_duties import VERIFY
from artifactstore.storage.port import ObjectKind
from tests.api.stored import comes_true, draft_of, record, record_in
from tests.retention import later, soon_over
from tests.service import clean_environment, serving
from tests.support import CliResult, flip_byte, objects_of_kind, run_cli, start_cli, write_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.service import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("kept-up") / "home") as running:
        yield running


@pytest.fixture
def damaged_server(home: Path) -> Iterator[Server]:
    """One whose objects a test damages."""
    with serving(home) as running:
        yield running


def status(server: Server) -> dict[str, Any]:
    document: dict[str, Any] = server.ask("GET", "/status").json
    StoreState.model_validate(document)
    return document


def metrics(server: Server) -> dict[tuple[str, str], float]:
    families = text_string_to_metric_families(server.ask("GET", "/metrics").body.decode())
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in families
        for sample in family.samples
    }


def from_afar(server: Server, folder: Path, *arguments: str) -> CliResult:
    return CliResult(start_cli(folder, *arguments, settings=server.environment()))


def expired_package(server: Server, data: bytes = b"x") -> str:
    with closing(server.registry()) as registry:
        package_id = record_in(soon_over(registry), draft_of({"x": data}, retention=RetentionClass.TRANSIENT))
        sweep(registry)
    return package_id


# what waits


def test_every_step_of_a_package_s_end_is_shown_while_it_waits(server: Server) -> None:
    before = status(server)["backlog"]
    expired_package(server)

    expired = status(server)["backlog"]
    digest = server.ask("POST", "/retention/plans").json["plan_digest"]
    planned = status(server)["backlog"]
    measured = metrics(server)
    server.ask("POST", f"/retention/plans/{digest}/application", json_body={"reason": "space"})
    applied = status(server)["backlog"]

    assert (0, 0, None) == tuple(before[name] for name in ("packages_expired", "expired_not_planned", "plan"))
    assert (1, 1, None) == tuple(expired[name] for name in ("packages_expired", "expired_not_planned", "plan"))
    assert (1, 0) == tuple(planned[name] for name in ("packages_expired", "expired_not_planned"))
    assert (digest, 1, "application") == tuple(planned["plan"][name] for name in ("plan_digest", "delete", "waits_for"))
    assert (1.0, 1.0, 0.0) == tuple(
        measured["artifactstore_backlog", what]
        for what in ("packages_expired", "plan_not_applied", "plan_not_approved")
    )
    assert (0, None) == (applied["packages_expired"], applied["plan"]["waits_for"])


def test_what_another_has_to_agree_to_is_shown(home: Path) -> None:
    with serving(home, environment={"ARTIFACTSTORE_RETENTION_APPROVALS": "2"}) as server:
        expired_package(server)
        digest = server.ask("POST", "/retention/plans").json["plan_digest"]

        before, measured = status(server)["backlog"]["plan"], metrics(server)
        server.ask("POST", f"/retention/plans/{digest}/approval")
        after = status(server)["backlog"]["plan"]

    assert ("approval", []) == (before["waits_for"], before["approved_by"])
    assert 1.0 == measured["artifactstore_backlog", "plan_not_approved"]
    assert ("application", ["token:admin"]) == (after["waits_for"], after["approved_by"])


def test_events_wait_until_they_are_sealed(server: Server, tmp_path: Path) -> None:
    record(server, {"x": b"recorded"})
    before = status(server)
    sealed_before = before["event_log"]["latest_seq"] - before["backlog"]["unsealed_events"]

    sealed = server.ask("POST", "/log:seal")
    after = status(server)["backlog"]
    again = from_afar(server, tmp_path, "storage", "seal")

    assert 0 == sealed_before
    assert before["backlog"]["unsealed_since"] is not None
    Sealed.model_validate(sealed.json)
    assert (1, before["event_log"]["latest_seq"]) == (sealed.json["segments"], sealed.json["sealed_up_to"])
    assert (0, None) == (after["unsealed_events"], after["unsealed_since"])
    assert 0 == again.document["segments"]


# damage


def test_damage_is_shown_named_and_healed_from_afar(damaged_server: Server, tmp_path: Path) -> None:
    server = damaged_server
    package_id = record(server, {"x": b"recorded"})
    flip_byte(objects_of_kind(server.home, ObjectKind.PACK)[0], 40)
    server.ask("POST", "/verification", json_body={"what": "objects"})

    shown, measured = status(server)["damage"], metrics(server)
    healed = from_afar(server, tmp_path, "heal", "--all")
    refused = from_afar(server, tmp_path, "heal", package_id, "--from", str(tmp_path))
    after = status(server)["damage"]

    assert {"pack": 1} == shown["objects"]
    assert "v1.object.damaged" in {each["type"] for each in shown["newest"]}
    assert 1.0 == measured["artifactstore_damaged_objects", ""]
    assert (0, "healed", 1) == (healed.code, healed.document["status"], healed.document["objects"])
    Healed.model_validate(healed.document)
    assert ({}, shown["newest"]) == (after["objects"], after["newest"])
    assert (1, True) == (refused.code, "Push the directory again" in refused.stderr)


def test_backends_are_compared_from_afar(damaged_server: Server, tmp_path: Path) -> None:
    server = damaged_server
    record(server, {"x": b"recorded"})
    objects_of_kind(server.home, ObjectKind.PACK)[0].unlink()

    answer = server.ask("POST", "/storage:reconcile", json_body={})
    there, here = from_afar(server, tmp_path, "storage", "reconcile"), run_cli(server.home, "storage", "reconcile")
    unknown = server.ask("POST", "/storage:reconcile", json_body={"backend": "nowhere"})

    Reconciled.model_validate(answer.json)
    assert ("different", 1) == (answer.json["status"], answer.json["totals"]["missing"]["count"])
    assert (3, here.document) == (there.code, there.document)
    assert "BACKEND_UNKNOWN" == unknown.json["code"]


# duties


def test_a_duty_is_paused_from_afar_and_by_hand_it_is_run_all_the_same(server: Server, tmp_path: Path) -> None:
    paused = from_afar(server, tmp_path, "duties", "pause", "sweep")
    shown, measured = status(server), metrics(server)
    swept = server.ask("POST", "/retention:sweep", json_body={})
    collected = [
        run_cli(server.home, *line)
        for line in (("duties", "pause", "collect"), ("collect", "--apply", "--grace-s", "0"))
    ]
    resumed = server.ask("POST", "/duties/sweep/resume")
    unknown = server.ask("POST", "/duties/nothing/pause")

    DutyState.model_validate(paused.document)
    assert ("paused", "token:admin") == (paused.document["state"], paused.document["paused_by"])
    assert "paused" in {duty["state"] for duty in shown["duties"]}
    assert (1.0, 0.0) == (
        measured["artifactstore_duty_paused", "sweep"],
        measured["artifactstore_duty_overdue", "sweep"],
    )
    assert 200 == swept.status
    assert [0, 0] == [each.code for each in collected]
    assert ("waiting", None) == (resumed.json["state"], resumed.json["paused_by"])
    assert (404, "DUTY_UNKNOWN") == (unknown.status, unknown.json["code"])


def test_the_scrub_is_paused_and_resumed_from_afar(server: Server, tmp_path: Path) -> None:
    paused = from_afar(server, tmp_path, "storage", "scrub", "pause")
    resumed = from_afar(server, tmp_path, "storage", "scrub", "resume")

    assert ("token:admin", None) == (paused.document["paused_by"], resumed.document["paused_by"])
    assert paused.document.keys() == status(server)["scrub"].keys()


def test_a_server_whose_scrub_is_overdue_is_not_ready_unless_that_is_not_asked(home: Path) -> None:
    with serving(home) as server:
        record(server, {"x": b"recorded"})
        before = server.ask("GET", "/ready", token=None).status
        with closing(server.registry()) as registry:
            long_ago = later(replace(registry, verify_every_days=1), -40)
            run_due(long_ago, [VERIFY])
            with registry.transaction() as tx:
                tx.connection.execute("UPDATE duty SET next_run_at = 1 WHERE name = 'verify'")
            run_due(long_ago, [VERIFY])
            pause = registry.clock() + MICROSECONDS_PER_DAY
            with registry.transaction() as tx:
                tx.connection.execute("UPDATE duty SET next_run_at = ?, paused_at = 1 WHERE name = 'verify'", (pause,))

        assert comes_true(lambda: server.ask("GET", "/ready", token=None).status == 503)
        checks = server.ask("GET", "/ready", token=None).json["checks"]
        assert (200, {"ok": False, "detail": "overdue"}) == (before, checks["scrub"])
        assert all(check["ok"] for name, check in checks.items() if name != "scrub")
        assert 1.0 == metrics(server)["artifactstore_scrub_overdue", ""]
        assert 40 == pytest.approx(status(server)["scrub"]["days_since_all_was_read"], abs=0.1)
    with serving(home, tokens={}, environment={"ARTIFACTSTORE_READY_NEEDS_SCRUB": "no"}) as lenient:
        assert 200 == lenient.ask("GET", "/ready", token=None).status


# for people


def on_a_terminal(home: Path, *arguments: str) -> str:
    """What a person sees."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "artifactstore", *arguments],
        env={**clean_environment(), "ARTIFACTSTORE_HOME": str(home)},
        stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    try:
        while part := os.read(ours, 65_536):
            seen += part
    except OSError:  # Linux's way to say that the other side is closed
        pass
    os.close(ours)
    assert 0 == process.wait(60)
    return seen.decode().replace("\r\n", "\n")


def test_on_a_terminal_what_is_wrong_comes_first(home: Path, tmp_path: Path) -> None:
    assert run_cli(home, "push", str(write_tree(tmp_path / "run", {"x": b"x"})), "--producer", "p").code == 0
    assert run_cli(home, "duties", "run").code == 0
    well = on_a_terminal(home, "status")
    flip_byte(objects_of_kind(home, ObjectKind.PACK)[0], 40)
    run_cli(home, "verify", "--all")

    bad = on_a_terminal(home, "status")
    as_json = on_a_terminal(home, "status", "--json")

    assert "nothing is wrong" == well.splitlines()[0]
    assert "! damaged objects: 1 of kind pack; `artifactstore heal --all` heals what it can" == bad.splitlines()[0]
    assert 1 == sum(line.startswith("sweep ") for line in bad.splitlines())
    assert as_json.startswith("{\n")
