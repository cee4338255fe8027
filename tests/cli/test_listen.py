"""`artifactstore listen`, `subscription` and what `status` says of them, with a plug-in that is installed."""

from __future__ import annotations

import json
import signal
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from artifactstore.bootstrap import open_registry
from tests import noting_plugin
from tests.integration.test_subscriptions import comes_true, record
from tests.service import settings_of
from tests.support import CliResult, start_cli

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    """Where the plug-in is installed."""
    return tmp_path / "site"


class Shell:
    """Runs commands where the plug-in is installed."""

    def __init__(self, home: Path, environment: dict[str, str]) -> None:
        self.home = home
        self._environment = environment

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return start_cli(self.home, *arguments, settings=self._environment)

    def run(self, *arguments: str) -> CliResult:
        return CliResult(self.start(*arguments))

    def subscriptions(self, *arguments: str) -> dict[str, dict[str, Any]]:
        found = self.run(*(arguments or ("subscription", "list"))).document["subscriptions"]
        return {each["name"]: each for each in found}


@pytest.fixture
def shell(home: Path, plugins: Path) -> Shell:
    return Shell(home, noting_plugin.install(plugins))


def record_at(home: Path, *slugs: str) -> None:
    with closing(open_registry(settings_of(home), actor="local:test")) as registry:
        record(registry, *slugs)


def test_what_waits_is_delivered_once_and_told(shell: Shell, plugins: Path) -> None:
    record_at(shell.home, "a", "b")

    first, again = shell.run("listen", "--once"), shell.run("listen", "--once")

    assert (0, 0) == (first.code, again.code)
    assert [
        {"name": "noting.all", "delivered": 2, "position": 2, "failures": 0, "error": None},
        {"name": "noting.later", "delivered": 0, "position": 2, "failures": 0, "error": None},
    ] == first.document["subscriptions"]
    assert [0, 0] == [each["delivered"] for each in again.document["subscriptions"]]
    assert ([1, 2], []) == ([each["seq"] for each in noting_plugin.told(plugins)], noting_plugin.told(plugins, "later"))


def test_a_listener_is_given_the_event_and_its_own_context(shell: Shell, plugins: Path) -> None:
    record_at(shell.home, "a")

    shell.run("listen", "--once")

    (told,) = noting_plugin.told(plugins)
    assert told.pop("at").endswith("+00:00")
    assert {
        "seq": 1,
        "type": "v1.metadata_schema.registered",
        "subject": "a",
        "actor": "local:test",
        "payload": {"slug": "a", "json_schema": {}, "registered_at": 1},
        "max_files": 1_000_000,
    } == told


def test_some_that_fail_are_told_with_a_code_of_their_own_and_all_with_another(shell: Shell, plugins: Path) -> None:
    shell.run("listen", "--once")
    record_at(shell.home, "a")
    (plugins / "refuse-all").touch()

    some = shell.run("listen", "--once")
    (plugins / "refuse-later").touch()
    record_at(shell.home, "b")
    all_ = shell.run("listen", "--once")

    assert (3, 2) == (some.code, all_.code)
    error = {"code": "INTERNAL", "message": "event 1: ValueError: not now"}
    assert [(0, 0, 1, error), (1, 1, 0, None)] == [
        (each["delivered"], each["position"], each["failures"], each["error"])
        for each in some.document["subscriptions"]
    ]
    assert "noting.all failed: INTERNAL: event 1: ValueError: not now\n" == some.stderr
    assert "event 2" in all_.document["subscriptions"][1]["error"]["message"]


def test_status_and_list_say_who_fails_and_how_much_waits(shell: Shell, plugins: Path) -> None:
    record_at(shell.home, "a", "b")
    (plugins / "refuse-all").touch()
    shell.run("listen", "--once")

    listed, shown = shell.subscriptions(), shell.subscriptions("status")

    assert listed == shown
    failing, idle = listed["noting.all"], listed["noting.later"]
    assert (True, 0, 2, 1, "INTERNAL", None) == (
        failing["installed"], failing["position"], failing["behind"], failing["failures"], failing["error"]["code"],
        failing["delivered_at"],
    )  # fmt: skip
    assert failing["next_attempt_at"] is not None
    assert (2, 0, 0, None, None) == tuple(
        idle[name] for name in ("position", "behind", "failures", "error", "next_attempt_at")
    )


def test_a_plug_in_that_is_no_longer_installed_is_shown_as_that(shell: Shell, home: Path) -> None:
    shell.run("listen", "--once")

    without = Shell(home, {}).subscriptions("status")

    assert {(False, None)} == {(each["installed"], each["behind"]) for each in without.values()}
    assert {"noting.all", "noting.later"} == set(without)


def test_a_plug_in_that_is_broken_is_said_and_shown_as_not_installed(shell: Shell, plugins: Path) -> None:
    shell.run("listen", "--once")
    (plugins / "broken").touch()

    without, shown = shell.run("listen", "--once"), shell.subscriptions("status")

    assert (2, {"subscriptions": []}) == (without.code, without.document)
    assert "left out: PLUGIN_FAILED: the plug-in 'noting' failed to say its listeners: no listeners today\n" == (
        without.stderr
    )
    assert {False} == {each["installed"] for each in shown.values()}


def test_a_replay_tells_it_again(shell: Shell, plugins: Path) -> None:
    record_at(shell.home, "a", "b", "c")
    shell.run("listen", "--once")

    answer = shell.run("subscription", "replay", "noting.all", "--after", "1")
    shell.run("listen", "--once")

    assert {"name": "noting.all", "position": 1} == answer.document
    assert [1, 2, 3, 2, 3] == [each["seq"] for each in noting_plugin.told(plugins)]


def test_a_replay_of_what_is_not_there_is_refused(shell: Shell) -> None:
    shell.run("listen", "--once")

    unknown = shell.run("subscription", "replay", "nobody", "--after", "0")
    beyond = shell.run("subscription", "replay", "noting.all", "--after", "1")

    assert (1, True) == (unknown.code, unknown.stderr.startswith("error: SUBSCRIPTION_UNKNOWN: "))
    assert (1, True) == (beyond.code, beyond.stderr.startswith("error: USAGE: there is no event 1: the log ends at 0"))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_listens_until_it_is_asked_to_end(shell: Shell, plugins: Path, how: signal.Signals) -> None:
    process = shell.start("listen")
    assert process.stdout is not None
    assert {"status": "listening", "subscriptions": ["noting.all", "noting.later"]} == json.loads(
        process.stdout.readline()
    )
    assert comes_true(lambda: len(shell.subscriptions()) == 2 and shell.subscriptions()["noting.all"]["position"] == 0)
    record_at(shell.home, "a", "b")

    assert comes_true(lambda: len(noting_plugin.told(plugins, "later")) == 2)
    assert comes_true(lambda: len(noting_plugin.told(plugins)) == 2)
    process.send_signal(how)
    ended = CliResult(process)

    assert (0, "", "") == (ended.code, ended.stdout, ended.stderr)
    assert {2} == {each["position"] for each in shell.subscriptions().values()}
    assert {None} == {each["running_by"] for each in shell.subscriptions().values()}


def test_subscriptions_are_served_on_the_host_of_the_store(shell: Shell) -> None:
    for command in (("listen",), ("subscription", "list"), ("subscription", "replay", "x", "--after", "0")):
        answer = shell.run(*command, "--server", "http://127.0.0.1:1")

        assert (1, True) == (answer.code, "works on the host of the store" in answer.stderr)
