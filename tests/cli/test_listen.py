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


STANDS_AT_2 = {"position": 2, "behind": 0, "failures": 0, "error": None, "running_by": None}
BROKEN = "the plug-in 'noting' failed to say its listeners: RuntimeError: no listeners today"


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


def let_time_pass(home: Path) -> None:
    """Two minutes, for whoever had claimed something."""
    with closing(open_registry(settings_of(home), actor="local:test")) as registry, registry.transaction() as tx:
        tx.connection.execute("UPDATE duty SET heartbeat_at = heartbeat_at - 120000000")


def test_what_waits_is_delivered_once_and_told(shell: Shell, plugins: Path) -> None:
    record_at(shell.home, "a", "b")

    first, again = shell.run("listen", "--once"), shell.run("listen", "--once")

    assert (0, 0) == (first.code, again.code)
    assert [
        {"name": "noting.all", "delivered": 2} | STANDS_AT_2,
        {"name": "noting.later", "delivered": 0} | STANDS_AT_2,
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
    assert f"left out: PLUGIN_FAILED: {BROKEN}\nhint: This is a defect of the plug-in" in without.stderr
    assert {False} == {each["installed"] for each in shown.values()}


def test_status_says_which_plug_ins_are_left_out(shell: Shell, plugins: Path) -> None:
    before = shell.run("status")
    (plugins / "broken").touch()

    after = shell.run("status")

    assert (0, [], "") == (before.code, before.document["plugins_left_out"], before.stderr)
    (left_out,) = after.document["plugins_left_out"]
    assert ("PLUGIN_FAILED", BROKEN) == (left_out["code"], left_out["message"])
    assert f"left out: PLUGIN_FAILED: {BROKEN}; This is a defect of the plug-in" in after.stderr


def test_what_a_listener_prints_is_not_among_the_answers(shell: Shell, plugins: Path) -> None:
    (plugins / "print").touch()
    record_at(shell.home, "a")

    once = shell.run("listen", "--once")
    process = shell.start("listen")
    assert process.stdout is not None
    line = json.loads(process.stdout.readline())
    record_at(shell.home, "b")
    assert comes_true(lambda: len(noting_plugin.told(plugins, "later")) == 1)
    process.send_signal(signal.SIGTERM)
    ended = CliResult(process)

    assert ([1, 0], "all was here\n") == ([each["delivered"] for each in once.document["subscriptions"]], once.stderr)
    assert ("listening", "", True) == (line["status"], ended.stdout, "later was here\n" in ended.stderr)


def test_the_hint_of_what_a_listener_raises_is_said(shell: Shell, plugins: Path) -> None:
    (plugins / "refuse-all").write_text("Ask again tomorrow.")
    record_at(shell.home, "a")

    failed = shell.run("listen", "--once")

    said = "noting.all failed: CONFIGURATION_INVALID: event 1: not now\nhint: Ask again tomorrow.\n"
    assert said == failed.stderr
    assert "Ask again tomorrow." == shell.subscriptions()["noting.all"]["error"]["hint"]


def test_a_listener_that_ends_its_process_is_seen_by_whoever_comes_next(shell: Shell, plugins: Path) -> None:
    """The other one may have been at its event, too, or not."""
    shell.run("listen", "--once")
    record_at(shell.home, "a")
    (plugins / "end-all").touch()

    ended = shell.run("listen", "--once")
    soon = shell.run("listen", "--once")
    let_time_pass(shell.home)
    later = shell.run("listen", "--once")

    assert (9, "") == (ended.code, ended.stdout)
    all_soon, all_later = (each.document["subscriptions"][0] for each in (soon, later))
    assert (3, 0, 1) == (soon.code, all_soon["delivered"], all_soon["behind"])
    assert f"noting.all is being told by {all_soon['running_by']}\n" in soon.stderr
    assert (True, 1, None) == (later.code in {2, 3}, all_later["failures"], all_later["running_by"])
    assert f"event 1: the process {all_soon['running_by']} ended" in all_later["error"]["message"]


STATE_HUB_WITHOUT_OPTIONS = """
[webhooks.hub]
url = "https://hub.example.org"
events = ["v1.package.finalized"]
format = "guide-board.state-hub"
"""


@pytest.mark.parametrize(
    ("configuration", "problem"),
    [
        (STATE_HUB_WITHOUT_OPTIONS, "[webhooks.hub]: "),
        (
            STATE_HUB_WITHOUT_OPTIONS.replace("guide-board.state-hub", "noting.x"),
            f"'noting' of its format is left out: PLUGIN_FAILED: {BROKEN}",
        ),
        ("no TOML", "webhooks.toml"),
    ],
)
def test_a_webhook_that_is_configured_wrongly_is_refused_by_who_delivers_and_shown_by_who_tells_the_state(
    home: Path, plugins: Path, configuration: str, problem: str
) -> None:
    environment = noting_plugin.install(plugins)
    (plugins / "broken").touch()
    (plugins / "webhooks.toml").write_text(configuration)
    shell = Shell(home, {**environment, "ARTIFACTSTORE_WEBHOOKS_CONFIG_PATH": str(plugins / "webhooks.toml")})

    status, listed = shell.run("status"), shell.run("subscription", "list")
    listening, serving = shell.run("listen", "--once"), shell.run("serve", "--port", "0")

    (shown,) = status.document["webhooks_left_out"]
    assert (0, 0, 1, 1) == (status.code, listed.code, listening.code, serving.code)
    assert "CONFIGURATION_INVALID" == shown["code"]
    for said in (shown["message"], status.stderr, listed.stderr, listening.stderr, serving.stderr):
        assert problem in said


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
