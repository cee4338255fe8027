"""`artifactstore webhook`: list, deliveries, test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import CliResult, start_cli
from tests.webhook_receiver import SECRET, is_signed_by, receiving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.webhook_receiver import Receiver

HUB = """
[webhooks.hub]
url = "{url}?key=in-the-query"
events = ["v1.package.finalized", "v1.package.expired"]
secrets_file = "hub.secrets"
allow_networks = ["127.0.0.1/32"]

[webhooks.state-hub]
url = "{url}"
events = ["v1.package.finalized"]
format = "guide-board.state-hub"
allow_networks = ["127.0.0.1/32"]
from_the_start = true

[webhooks.state-hub.options]
workstream_id = "11111111-1111-4111-8111-111111111111"
task_id = "22222222-2222-4222-8222-222222222222"
artifact_store_api_url = "https://artifacts.example.org"
"""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@pytest.fixture
def configuration(tmp_path: Path, receiver: Receiver) -> Path:
    (tmp_path / "hub.secrets").write_text(f"{SECRET}\n")
    path = tmp_path / "webhooks.toml"
    path.write_text(HUB.format(url=receiver.url))
    return path


def webhook(home: Path, configuration: Path | None, *arguments: str) -> CliResult:
    settings = {} if configuration is None else {"ARTIFACTSTORE_WEBHOOKS_CONFIG_PATH": str(configuration)}
    return CliResult(start_cli(home, "webhook", *arguments, settings=settings))


def test_a_test_event_is_sent_and_its_attempt_listed(home: Path, configuration: Path, receiver: Receiver) -> None:
    sent = webhook(home, configuration, "test", "hub")
    listed = webhook(home, configuration, "deliveries", "hub")

    (request,) = receiver.requests
    (attempt,) = listed.document["deliveries"]
    assert (0, {"webhook": "hub", "id": request.headers["webhook-id"], "status": 204}) == (sent.code, sent.document)
    assert is_signed_by(SECRET, request)
    assert {"seq": 0, "status": 204, "error": None}.items() <= attempt.items()
    assert {"seq", "attempted_at", "took_us", "status", "error"} == attempt.keys()


def test_a_test_that_is_not_taken_is_the_systems_failure(home: Path, configuration: Path, receiver: Receiver) -> None:
    receiver.statuses = [500, 500]

    failed = [webhook(home, configuration, "test", "hub") for _ in range(2)]
    attempts = webhook(home, configuration, "deliveries", "hub", "--limit", "1").document["deliveries"]

    assert [2, 2] == [each.code for each in failed]
    assert "error: WEBHOOK_FAILED: 127.0.0.1:" in failed[0].stderr
    assert "hint: A test is sent once. `artifactstore webhook deliveries hub` shows" in failed[0].stderr
    assert [500] == [attempt["status"] for attempt in attempts]


def test_webhooks_are_listed_without_what_is_secret(home: Path, configuration: Path, receiver: Receiver) -> None:
    webhook(home, configuration, "test", "hub")

    listed = webhook(home, configuration, "list")

    hub, state_hub = listed.document["webhooks"]
    assert 204 == hub.pop("last_attempt")["status"]
    assert {
        "name": "hub",
        "subscription": "webhook.hub",
        "url": receiver.url,
        "events": ["v1.package.finalized", "v1.package.expired"],
        "format": "standard",
        "signatures": 1,
        "allow_networks": ["127.0.0.1/32"],
        "timeout_s": 10.0,
        "from_the_start": False,
    } == hub
    assert ("guide-board.state-hub", 0, True, None) == (
        state_hub["format"], state_hub["signatures"], state_hub["from_the_start"], state_hub["last_attempt"]
    )  # fmt: skip
    assert not any(secret in listed.stdout for secret in (SECRET[6:], "in-the-query"))


def test_without_a_configuration_there_are_none(home: Path) -> None:
    assert {"webhooks": []} == webhook(home, None, "list").document


@pytest.mark.parametrize("command", ["test", "deliveries"])
def test_a_name_that_no_webhook_has_is_refused(home: Path, configuration: Path, command: str) -> None:
    answer = webhook(home, configuration, command, "nobody")

    assert 1 == answer.code
    assert "error: USAGE: no webhook is named 'nobody'\nhint: Configured: hub, state-hub.\n" == answer.stderr


def test_what_a_webhook_was_sent_is_listed_when_it_is_configured_no_more(home: Path, configuration: Path) -> None:
    webhook(home, configuration, "test", "hub")

    assert 1 == len(webhook(home, None, "deliveries", "hub").document["deliveries"])


def test_a_format_without_a_test_event_says_how_to_try_it(home: Path, configuration: Path, receiver: Receiver) -> None:
    answer = webhook(home, configuration, "test", "state-hub")

    assert (1, []) == (answer.code, receiver.requests)
    assert "subscription replay webhook.state-hub --after SEQ" in answer.stderr


def test_a_configuration_that_is_wrong_is_named_by_file_table_and_key(home: Path, configuration: Path) -> None:
    configuration.write_text(configuration.read_text().replace("v1.package.expired", "v1.package.expirred"))

    answer = webhook(home, configuration, "list")

    assert 1 == answer.code
    assert (
        f"CONFIGURATION_INVALID: {configuration}: [webhooks.hub]: events names 'v1.package.expirred'" in answer.stderr
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("guide-board.state-hub", "guide-board.other", "format 'guide-board.other' is provided by nothing"),
        ('task_id = "2', 'task_id = "', "options: task_id is not a UUID"),
    ],
)
def test_what_only_a_plugin_knows_to_be_wrong_is_refused_as_by_a_server(
    home: Path, configuration: Path, old: str, new: str, message: str
) -> None:
    configuration.write_text(configuration.read_text().replace(old, new))

    answer = webhook(home, configuration, "list")

    assert 1 == answer.code
    assert f"error: CONFIGURATION_INVALID: [webhooks.state-hub]: {message}" in answer.stderr


def test_what_has_nothing_to_do_with_webhooks_does_not_mind_what_is_wrong_with_them(
    home: Path, configuration: Path, tmp_path: Path
) -> None:
    settings = {"ARTIFACTSTORE_WEBHOOKS_CONFIG_PATH": str(configuration)}
    (tmp_path / "hub.secrets").unlink()
    (tmp_path / "pushed").mkdir()
    (tmp_path / "pushed/a.txt").write_text("x")

    pushed = CliResult(start_cli(home, "push", str(tmp_path / "pushed"), "--producer", "ci", settings=settings))
    asked = [
        CliResult(start_cli(home, *command.split(), settings=settings))
        for command in ("listen --once", "webhook list", "serve --port 0")
    ]

    assert (0, 1) == (pushed.code, pushed.document["file_count"])
    assert [1] * 3 == [each.code for each in asked]
    assert all("[webhooks.hub]: secrets_file cannot be read" in each.stderr for each in asked)


def test_webhooks_are_a_matter_of_the_host_of_the_store(home: Path, configuration: Path) -> None:
    answer = webhook(home, configuration, "list", "--server", "http://127.0.0.1:1")

    assert (1, True) == (answer.code, "works on the host of the store" in answer.stderr)
