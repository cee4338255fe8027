"""The state of a store over HTTP, and sweeps while another is at it."""

from __future__ import annotations

import socket
import threading
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from artifactstore.api.serve import _announce
from artifactstore.api.service import Service
from artifactstore.api.status_models import StoreState
from artifactstore.catalog.contributions import head
from artifactstore.registry.duties import run_now
from artifactstore.registry.readiness import CHECKS, Check
from artifactstore.registry.store_duties import ALL, SWEEP
from tests import noting_plugin
from tests.api.stored import comes_true, record
from tests.service import make_tokens, serving, settings_of
from tests.support import CliResult, run_cli, start_cli

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.service import Server


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("watched") / "home") as server:
        yield server


def state(server: Server) -> dict[str, Any]:
    answer = server.ask("GET", "/status")
    assert 200 == answer.status
    document: dict[str, Any] = answer.json
    return document


def duty(server: Server, name: str) -> dict[str, Any]:
    (found,) = [each for each in state(server)["duties"] if each["name"] == name]
    return dict(found)


def test_the_state_of_a_store_is_what_the_model_says(watched: Server) -> None:
    record(watched, {"x": b"recorded"})

    document = state(watched)

    StoreState.model_validate(document)
    assert {"kind": "sqlite", "revision": head(), "at_head": True} == document["database"]
    assert document["event_log"]["latest_seq"] > 0
    assert ("default", "file", True) == tuple(document["backends"][0][name] for name in ("name", "scheme", "default"))
    assert [each.name for each in ALL] == [each["name"] for each in document["duties"]]


def test_the_state_of_a_store_says_nothing_of_where_it_is(watched: Server) -> None:
    body = watched.ask("GET", "/status").body.decode()

    assert str(watched.home) not in body
    assert "//" not in body


def test_a_server_runs_the_duties_by_itself_and_says_so(watched: Server) -> None:
    assert comes_true(lambda: duty(watched, "sweep")["outcome"] == "done")

    swept = duty(watched, "sweep")

    assert ("waiting", False, {"expired": 0}, 0) == tuple(
        swept[name] for name in ("state", "overdue", "detail", "failures")
    )
    assert swept["started_at"] <= swept["finished_at"] == swept["succeeded_at"] < swept["next_run_at"]
    assert comes_true(lambda: any('"event": "duty"' in line and '"sweep"' in line for line in list(watched.log)))


def test_the_command_line_shows_the_same_from_afar(watched: Server, tmp_path: Path) -> None:
    assert comes_true(lambda: duty(watched, "expire-pushes")["outcome"] == "done")

    here = run_cli(watched.home, "status").document
    there = CliResult(start_cli(tmp_path, "status", settings=watched.environment())).document

    for moving in ("seen_at", "duties"):
        assert type(here.pop(moving)) is type(there.pop(moving))
    assert here == there


def test_readiness_asks_of_duties_only_whether_all_was_read_back_in_time(watched: Server) -> None:
    assert {"database", "storage", "scrub"} == set(watched.ask("GET", "/ready", token=None).json["checks"])


def test_a_sweep_by_hand_is_the_run_that_is_shown(watched: Server) -> None:
    assert comes_true(lambda: duty(watched, "sweep")["outcome"] == "done")
    before = duty(watched, "sweep")

    answer = watched.ask("POST", "/retention:sweep", json_body={})

    assert {"expired": [], "count": 0} == answer.json
    assert before["finished_at"] < duty(watched, "sweep")["finished_at"]


def test_a_dry_run_is_no_run(watched: Server) -> None:
    assert comes_true(lambda: duty(watched, "sweep")["outcome"] == "done")
    before = duty(watched, "sweep")

    watched.ask("POST", "/retention:sweep", json_body={"dry_run": True})

    assert before == duty(watched, "sweep")


def test_a_sweep_while_another_process_is_at_it_is_refused_and_may_be_retried(watched: Server) -> None:
    running, may_end = threading.Event(), threading.Event()

    def act(*_: object) -> dict[str, object]:
        running.set()
        may_end.wait(60)
        return {"expired": 0}

    with closing(watched.registry()) as registry:
        elsewhere = threading.Thread(target=run_now, args=(registry, replace(SWEEP, act=act)))
        elsewhere.start()
        assert running.wait(60)

        shown = duty(watched, "sweep")
        refused = watched.ask("POST", "/retention:sweep", json_body={})
        may_end.set()
        elsewhere.join()
    swept = watched.ask("POST", "/retention:sweep", json_body={})

    assert ("running", True) == (shown["state"], bool(shown["running_by"]))
    assert (409, "DUTY_RUNNING", True) == (refused.status, refused.json["code"], refused.json["retryable"])
    assert shown["running_by"] in refused.json["detail"]
    assert 200 == swept.status


# subscriptions


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    return tmp_path / "site"


@pytest.fixture
def telling(home: Path, plugins: Path) -> Iterator[Server]:
    """A server of two processes, where a plug-in that listens is installed."""
    with serving(home, "--workers", "2", environment=noting_plugin.install(plugins)) as server:
        assert comes_true(lambda: len(state(server)["subscriptions"]) == 2)
        assert comes_true(lambda: subscription(server, "noting.later")["position"] is not None)
        yield server


def subscription(server: Server, name: str) -> dict[str, Any]:
    (found,) = [each for each in state(server)["subscriptions"] if each["name"] == name]
    return dict(found)


def register(server: Server, *slugs: str) -> None:
    for slug in slugs:
        answer = server.ask("POST", "/metadata-schemas", json_body={"slug": slug, "json_schema": {"type": "object"}})
        assert 201 == answer.status


def test_a_server_tells_the_listeners_of_its_plug_ins_each_event_once_and_in_order(
    telling: Server, plugins: Path
) -> None:
    register(telling, *(f"s{number}" for number in range(20)))

    assert comes_true(lambda: subscription(telling, "noting.later")["position"] == 20)
    assert comes_true(lambda: subscription(telling, "noting.all")["position"] == 20)

    for listener in ("all", "later"):
        assert list(range(1, 21)) == [told["seq"] for told in noting_plugin.told(plugins, listener)]
    StoreState.model_validate(state(telling))
    told = subscription(telling, "noting.all")
    assert (True, 0, 0, None) == tuple(told[name] for name in ("installed", "behind", "failures", "error"))
    assert any('"event": "delivery"' in line and '"noting.all"' in line for line in list(telling.log))


def test_a_listener_that_refuses_shows_in_status_metrics_and_the_log_until_it_takes_the_event(
    telling: Server, plugins: Path
) -> None:
    (plugins / "refuse-all").touch()
    register(telling, "a")

    assert comes_true(lambda: subscription(telling, "noting.all")["failures"] > 1)
    refused = subscription(telling, "noting.all")
    metrics = telling.ask("GET", "/metrics").body.decode()
    (plugins / "refuse-all").unlink()

    assert ({"code": "INTERNAL", "message": "event 1: ValueError: not now"}, 1) == (refused["error"], refused["behind"])
    assert 'artifactstore_subscription_behind{subscription="noting.all"} 1\n' in metrics
    assert 'artifactstore_subscription_failures{subscription="noting.all"} 0\n' not in metrics
    assert 'artifactstore_subscription_failures{subscription="noting.later"} 0\n' in metrics
    assert any('"event": "delivery failed"' in line and "not now" in line for line in list(telling.log))
    assert comes_true(lambda: subscription(telling, "noting.all")["behind"] == 0)
    assert subscription(telling, "noting.all")["error"] is None


def test_a_server_serves_without_a_plug_in_that_is_broken_and_says_so(home: Path, plugins: Path) -> None:
    environment = noting_plugin.install(plugins)
    (plugins / "broken").touch()

    with serving(home, environment=environment) as server:
        shown, metrics = state(server), server.ask("GET", "/metrics").body.decode()

        StoreState.model_validate(shown)
        assert ([], ["PLUGIN_FAILED"]) == (shown["subscriptions"], [each["code"] for each in shown["plugins_left_out"]])
        assert "no listeners today" in shown["plugins_left_out"][0]["message"]
        assert "\nartifactstore_plugins_left_out 1\n" in metrics
        assert any('"event": "plug-in left out"' in line and "PLUGIN_FAILED" in line for line in list(server.log))


def test_a_server_whose_first_worker_dies_before_it_answers_is_announced_when_another_one_does() -> None:
    announced: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        announcing = threading.Thread(target=_announce, args=(listener, announced.append))
        announcing.start()
        dying, _ = listener.accept()
        dying.close()
        living, _ = listener.accept()
        with living:
            living.recv(65_536)
            before = list(announced)
            living.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            announcing.join()

        assert ([], [f"http://127.0.0.1:{listener.getsockname()[1]}"]) == (before, announced)


def test_readiness_does_not_wait_for_a_silent_backend(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check goes on by itself, once: those who ask meanwhile are told at once, and then what came of it."""
    make_tokens(home)
    monkeypatch.setattr("artifactstore.api.service._ANSWERS_WITHIN_S", 0.2)
    monkeypatch.setattr("artifactstore.api.service._LOOK_S", 0.0)
    answers, asked = threading.Event(), list[str]()

    def silent(_: object) -> Check:
        asked.append("backend")
        answers.wait()
        return Check(True, "readable and writable")

    monkeypatch.setitem(CHECKS, "storage", silent)
    service = Service.open(settings_of(home))

    first, second = service.readiness(), service.readiness()
    answers.set()
    service._under_way["storage"][0].result()
    third = service.readiness()
    service.close()

    assert [(True, False)] * 2 == [(each["database"].ok, each["storage"].ok) for each in (first, second)]
    assert (True, ["backend"]) == (third["storage"].ok, asked)
