"""What a table [webhooks.NAME] may say, and what is refused."""

from __future__ import annotations

import tomllib
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from artifactstore.config import Settings
from artifactstore.domain.events import EVENT_TYPES
from artifactstore.errors import ConfigurationError
from artifactstore.webhooks import Webhook, parse_webhooks, webhook_document
from artifactstore.webhooks.signing import key_of
from tests.webhook_receiver import OLD_SECRET, SECRET

ORDINARY = f"""
url = "https://hub.test/hooks?key=in-the-query"
events = ["v1.package.finalized"]
secrets = ["{SECRET}"]
"""


def parsed(body: str, folder: Path = Path()) -> Webhook:
    return parse_webhooks(tomllib.loads(f"[webhooks.hub]\n{body}"), folder)["hub"]


def refusal(body: str, folder: Path = Path()) -> str:
    with pytest.raises(ConfigurationError) as caught:
        parsed(body, folder)
    assert caught.value.__cause__ is None
    return caught.value.message


def changed(**members: str) -> str:
    """The ordinary table with other lines, or without those that are empty."""
    lines = dict(line.split(" = ", 1) for line in ORDINARY.strip().splitlines())
    return "\n".join(f"{key} = {value}" for key, value in {**lines, **members}.items() if value)


def test_an_ordinary_webhook_needs_three_keys() -> None:
    webhook = parsed(ORDINARY)

    assert ("hub", "webhook.hub", ("v1.package.finalized",)) == (webhook.name, webhook.subscription, webhook.events)
    assert ("https", "hub.test", 443, "/hooks?key=in-the-query") == webhook.endpoint
    assert ((key_of(SECRET),), "standard", {}, (), 10.0, False) == (
        webhook.keys, webhook.format, webhook.options, webhook.allow_networks, webhook.timeout_s, webhook.from_the_start
    )  # fmt: skip


def test_everything_else_may_be_said() -> None:
    webhook = parsed(
        changed(
            events='["v1.package.finalized", "plugin.my-plugin.something.happened"]', secrets="",
            format='"guide-board.state-hub"', options='{ task_id = "x" }', timeout_s="2.5", from_the_start="true",
            allow_networks='["127.0.0.1/32", "fd00::/8"]', url='"http://[fd00::1]:8080"',
        )
    )  # fmt: skip

    assert ("http", "fd00::1", 8080, "/") == webhook.endpoint
    assert "[fd00::1]:8080" == webhook.endpoint.authority
    assert ((), "guide-board.state-hub", {"task_id": "x"}, 2.5, True) == (
        webhook.keys, webhook.format, webhook.options, webhook.timeout_s, webhook.from_the_start
    )  # fmt: skip
    assert (ip_network("127.0.0.1/32"), ip_network("fd00::/8")) == webhook.allow_networks


def test_every_type_of_event_may_be_asked_for() -> None:
    assert tuple(EVENT_TYPES) == parsed(changed(events=str(list(EVENT_TYPES)))).events


def test_secrets_may_lie_in_a_file_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "hub.secrets").write_text(f"{SECRET}\n\n  {OLD_SECRET}\r\n")

    webhook = parsed(changed(secrets="", secrets_file='"hub.secrets"'), tmp_path)

    assert (key_of(SECRET), key_of(OLD_SECRET)) == webhook.keys


WRONG: list[tuple[str, dict[str, str]]] = [
    ("url is missing", {"url": ""}),
    ("url must be http:// or https://, a host", {"url": '"ftp://hub.test/"'}),
    ("url must be http:// or https://, a host", {"url": '"https://name:hunter2@hub.test/"'}),
    ("url must be http:// or https://, a host", {"url": '"https://hub.test/#fragment"'}),
    ("url must be http:// or https://, a host", {"url": '"https://hub.test:99999/"'}),
    ("url must be http:// or https://, a host", {"url": '"https://hüb.test/"'}),
    ("url must be http:// or https://, a host", {"url": '"https:///path"'}),
    ("url must be http:// or https://, a host", {"url": '"https://hub.test/a b"'}),
    ("url must be https://, unless allow_networks", {"url": '"http://hub.test/"'}),
    ("events is missing", {"events": ""}),
    ("events must be a list of texts", {"events": '"v1.package.finalized"'}),
    ("events must name at least one", {"events": "[]"}),
    ("events names 'v1.package.final', which is no type", {"events": '["v1.package.final"]'}),
    ("events names 'plugin.', which", {"events": '["plugin."]'}),
    ("events names '*', which", {"events": '["*"]'}),
    ("secrets or secrets_file is needed", {"secrets": ""}),
    ("secrets has no secret", {"secrets": "[]"}),
    ("secrets has as number 2 what is not", {"secrets": f'["{SECRET}", "{SECRET}x"]'}),
    ("secrets and secrets_file cannot both", {"secrets_file": '"x"'}),
    ("secrets_file cannot be read: No such file", {"secrets": "", "secrets_file": '"nowhere"'}),
    ("format must be a text", {"format": "1"}),
    ("options are for other formats", {"options": '{ a = "b" }'}),
    ("options must be a table of texts", {"format": '"a.b"', "options": "{ a = 1 }"}),
    ("allow_networks must be networks", {"allow_networks": '["127.0.0.1/8"]'}),
    ("timeout_s must be a number from 1 to 60", {"timeout_s": "61"}),
    ("timeout_s must be a number from 1 to 60", {"timeout_s": "0"}),
    ("timeout_s must be a number from 1 to 60", {"timeout_s": "true"}),
    ("timeout_s must be a number from 1 to 60", {"timeout_s": "nan"}),
    ("from_the_start must be", {"from_the_start": "1"}),
    ("secret is not a key", {"secret": f'"{SECRET}"'}),
]


@pytest.mark.parametrize(("beginning", "members"), WRONG)
def test_what_is_wrong_is_told_by_its_table_and_key(beginning: str, members: dict[str, str]) -> None:
    message = refusal(changed(**members))

    assert message.startswith(f"[webhooks.hub]: {beginning}")
    assert not any(part in message for part in (SECRET[6:], "hunter2", "in-the-query"))


def test_a_file_of_secrets_that_is_wrong_is_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "hub.secrets").write_text(f"{SECRET}\nwhsec_c2hvcnQ=\n")

    message = refusal(changed(secrets="", secrets_file='"hub.secrets"'), tmp_path)

    assert message.startswith("[webhooks.hub]: secrets_file has as number 2 what is not whsec_ and")
    assert "c2hvcnQ" not in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[webhooks.Hub]", "[webhooks.Hub]: the name 'Hub' "),
        ("[webhooks]\nhub = 1", "[webhooks.hub] must be a table"),
        ("[webhook.hub]", "there must be a table [webhooks.NAME]"),
    ],
)
def test_a_document_of_another_form_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_webhooks(tomllib.loads(text), Path())

    assert caught.value.message.startswith(message)


def test_settings_have_the_webhooks_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "webhooks.toml"
    path.write_text(f"[webhooks.hub]\n{ORDINARY}")

    settings = Settings.from_environment({"ARTIFACTSTORE_WEBHOOKS_CONFIG_PATH": str(path)})

    assert {"hub": parsed(ORDINARY)} == settings.webhook_configuration()
    assert {} == Settings.from_environment({"ARTIFACTSTORE_WEBHOOKS_CONFIG_PATH": ""}).webhook_configuration()


@pytest.mark.parametrize(
    ("text", "message"), [(None, "cannot be read"), ("[", "is not valid TOML"), ("[webhooks.a]", "[webhooks.a]: url")]
)
def test_a_file_that_is_wrong_is_named_when_webhooks_are_asked_for(
    tmp_path: Path, text: str | None, message: str
) -> None:
    path = tmp_path / "webhooks.toml"
    if text is not None:
        path.write_text(text)
    settings = Settings.from_environment({"ARTIFACTSTORE_WEBHOOKS_CONFIG_PATH": str(path)})

    with pytest.raises(ConfigurationError) as caught:
        settings.webhook_configuration()

    assert str(path) in caught.value.message
    assert message in caught.value.message


@pytest.mark.parametrize("show", [repr, str, webhook_document])
def test_nothing_that_is_shown_of_a_webhook_has_its_secrets(show: Any) -> None:
    webhook = parsed(ORDINARY)

    shown = str(show(webhook))

    assert "hub" in shown
    assert not any(part in shown for part in (SECRET[6:], repr(key_of(SECRET))[2:12], "in-the-query"))
