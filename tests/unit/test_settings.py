"""Settings: what the environment says, checked, and secrets that stay secret."""

from __future__ import annotations

import traceback
from hashlib import sha256

import pytest

from artifactstore.config import NAMES, Settings, parse_server_url
from artifactstore.domain.access import Scope
from artifactstore.domain.capabilities import Capability
from artifactstore.errors import ConfigurationError

SECRET = "0123456789-abcdefghijklmn-SECRET"
OTHER = "another-secret-of-enough-characters"


def settings(**variables: str) -> Settings:
    return Settings.from_environment({f"ARTIFACTSTORE_{name}": value for name, value in variables.items()})


def everything_told_of(error: BaseException) -> str:
    """What a log, a trace or a repr could show of an error, with all that is chained to it."""
    chained = [error.__cause__, error.__context__]
    below = "".join(everything_told_of(each) for each in chained if each is not None)
    return f"{error!r} {vars(error)} {''.join(traceback.format_exception(error))} {below}"


def test_the_defaults_are_those_of_one_host() -> None:
    found = settings()

    assert (None, None, (), False) == (found.api_url, found.api_token, found.auth_tokens, found.anon_read)
    assert (("localhost", "127.0.0.1", "[::1]"), "info") == (found.allowed_hosts, found.log_level)


def test_an_empty_setting_of_the_service_counts_as_not_set() -> None:
    names = ("API_URL", "API_TOKEN", "AUTH_TOKENS", "ANON_READ", "ALLOWED_HOSTS", "LOG_LEVEL")

    assert settings() == settings(**dict.fromkeys(names, ""))
    assert set(names) <= set(NAMES)


# addresses


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("https://artifacts.example.org/", "https://artifacts.example.org"),
        ("https://example.org/artifacts/", "https://example.org/artifacts"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_the_address_of_a_server_has_no_slash_at_its_end(text: str, expected: str) -> None:
    assert expected == settings(API_URL=text).api_url


@pytest.mark.parametrize(
    "text",
    [
        "example.org", "ftp://example.org", "http://", "http:///x", "https:example.org", "http://h?a=b", "http://h/?",
        "http://h/#a", "http://h/#", "http://h:99999", "http://h:0", "http://h:x", "http://[::1", "http://h /",
        "http://h\n", "\thttp://h", "http://user@h", "http://h\u00e9", "file:///etc/passwd", "http://u:p@h",
    ],
)  # fmt: skip
def test_what_is_not_the_address_of_a_server_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^ARTIFACTSTORE_API_URL "):
        settings(API_URL=text)


@pytest.mark.parametrize("text", [f"http://me:{SECRET}@h", f"http://me:{SECRET}@h:x", f"http://{SECRET} @h"])
def test_a_password_in_an_address_is_not_repeated(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_server_url(text, what="--server")

    assert SECRET not in str(caught.value)
    assert caught.value.message.startswith("--server ")


# tokens


def test_the_token_of_the_client_is_taken_as_it_is_and_not_shown() -> None:
    found = settings(API_TOKEN=SECRET)

    assert SECRET == found.api_token
    assert SECRET not in repr(found)


@pytest.mark.parametrize("text", [f"{SECRET} ", f" {SECRET}", f"{SECRET}\r\nX-Other: 1", f"{SECRET}\u00e9"])
def test_a_token_that_no_header_could_carry_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ConfigurationError, match="ARTIFACTSTORE_API_TOKEN") as caught:
        settings(API_TOKEN=text)

    assert SECRET not in everything_told_of(caught.value)


def test_static_tokens_have_name_scopes_and_the_hash_of_the_secret() -> None:
    found = settings(AUTH_TOKENS=f"ci write:ci,read {SECRET}; ops admin {OTHER};")

    first, second = found.auth_tokens
    assert ("ci", (Scope.parse("read"), Scope.parse("write:ci"))) == (first.name, first.scopes)
    assert ("ops", (Scope.parse("admin"),)) == (second.name, second.scopes)
    assert [sha256(SECRET.encode()).digest(), sha256(OTHER.encode()).digest()] == [
        token.secret_sha256 for token in found.auth_tokens
    ]


def test_static_tokens_may_stand_on_lines_of_their_own() -> None:
    found = settings(AUTH_TOKENS=f"\n  ci read {SECRET};\n  ops admin {OTHER}\n")

    assert ["ci", "ops"] == [token.name for token in found.auth_tokens]


def test_neither_secret_nor_hash_is_shown_of_a_static_token() -> None:
    found = settings(AUTH_TOKENS=f"ci read {SECRET}")

    shown = f"{found!r} {found.auth_tokens!r} {found.auth_tokens[0]}"
    assert "auth_tokens" not in repr(found)
    assert SECRET not in shown
    assert repr(sha256(SECRET.encode()).digest()) not in shown


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f"{SECRET}", "entry 1 must be a name, scopes and a secret"),
        (f"read {SECRET}", "entry 1 must be a name, scopes and a secret"),
        (f"ci read {SECRET} {SECRET}", "entry 1 must be a name, scopes and a secret"),
        (f"ci read, write:ci {SECRET}", "entry 1 must be a name, scopes and a secret"),
        (f"ci {SECRET} read", "entry 1 needs a secret of at least 24"),
        ("ci read SECRET-of-23-characters", "entry 1 needs a secret of at least 24"),
        (f"ci read {SECRET}\u00e9", "entry 1 needs a secret of at least 24"),
        (f"ci read {SECRET}\x7f", "entry 1 needs a secret of at least 24"),
        (f"{SECRET} read {OTHER}", "entry 1 needs a slug for a name"),
        (f"ci {SECRET} {OTHER}", "entry 1 needs a slug for a name, and scopes"),
        (f"ci , {SECRET}", "entry 1 needs a slug for a name, and scopes"),
        (f"ci write {SECRET}", "entry 1 needs a slug for a name, and scopes"),
        (f"ci read {OTHER}; ops {SECRET}", "entry 2 must be a name"),
        (f"ci read {SECRET}; ci admin {OTHER}", "two entries have the same name"),
        (f"ci read {SECRET}; ops admin {SECRET}", "two entries have the same secret"),
    ],
)
def test_a_wrong_entry_is_named_by_its_number_and_never_repeated(text: str, problem: str) -> None:
    text = text.replace("SECRET-of-23-characters", SECRET[-23:])

    with pytest.raises(ConfigurationError, match=f"^ARTIFACTSTORE_AUTH_TOKENS: {problem}") as caught:
        settings(AUTH_TOKENS=text)

    told = everything_told_of(caught.value)
    assert "SECRET" not in told
    assert OTHER not in told


# the rest


@pytest.mark.parametrize(
    ("text", "expected"), [("true", True), ("1", True), ("YES", True), ("false", False), ("0", False), ("no", False)]
)
def test_reading_without_a_token_is_allowed_by_a_clear_word(text: str, expected: bool) -> None:
    assert expected == settings(ANON_READ=text).anon_read


@pytest.mark.parametrize("text", ["on", "y", "2", "ja", " true"])
def test_any_other_word_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="ARTIFACTSTORE_ANON_READ must be one of true"):
        settings(ANON_READ=text)


def test_hosts_are_names_in_lower_case() -> None:
    found = settings(ALLOWED_HOSTS="Artifacts.Example.org, 192.0.2.7,[2001:DB8:0::7]")

    assert ("artifacts.example.org", "192.0.2.7", "[2001:db8::7]") == found.allowed_hosts


@pytest.mark.parametrize(
    "text", ["h:8000", "[::1]:8000", "::1", "h,", ",", "*", "*.example.org", "http://h", "h/x", "[h]", "[", "h i", "é"]
)
def test_what_is_not_the_name_of_a_host_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"ARTIFACTSTORE_ALLOWED_HOSTS: .* is not the name of a host"):
        settings(ALLOWED_HOSTS=text)


def test_the_level_of_the_log_is_one_of_four() -> None:
    assert ["debug", "info", "warning", "error"] == [
        settings(LOG_LEVEL=text).log_level for text in ("debug", "INFO", "warning", "error")
    ]
    with pytest.raises(ConfigurationError, match="ARTIFACTSTORE_LOG_LEVEL must be one of debug, info, warning, error"):
        settings(LOG_LEVEL="trace")


def test_days_in_which_everything_is_verified_are_a_number_or_0_for_never() -> None:
    assert [30, 0, 3_650] == [
        settings().verify_every_days,
        settings(VERIFY_EVERY_DAYS="0").verify_every_days,
        settings(VERIFY_EVERY_DAYS="3650").verify_every_days,
    ]
    with pytest.raises(ConfigurationError, match=r"ARTIFACTSTORE_VERIFY_EVERY_DAYS must be .* from 0 to 3650"):
        settings(VERIFY_EVERY_DAYS="-1")


# plug-ins


def test_without_settings_plugins_are_granted_nothing_more_and_a_race_is_run_again_once() -> None:
    found = settings()

    assert ({}, 64 * 1024, 1) == (found.plugin_capabilities, found.max_payload_bytes, found.race_retries)


def test_what_plugins_may_do_is_granted_by_name() -> None:
    found = settings(PLUGIN_CAPABILITIES="mailbox=ingest,emit;guide-board=")

    assert {"mailbox": set(Capability), "guide-board": set()} == found.plugin_capabilities


@pytest.mark.parametrize("text", ["mailbox", "mailbox=all", "mailbox=ingest;mailbox=emit"])
def test_a_grant_that_makes_no_sense_is_a_wrong_setting(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^ARTIFACTSTORE_PLUGIN_CAPABILITIES: ") as caught:
        settings(PLUGIN_CAPABILITIES=text)

    assert caught.value.hint


@pytest.mark.parametrize(("name", "least", "most"), [("MAX_PAYLOAD_BYTES", 1, 1024 * 1024), ("RACE_RETRIES", 0, 10)])
def test_what_limits_observations_is_a_number_within_bounds(name: str, least: int, most: int) -> None:
    members = [getattr(settings(**{name: str(number)}), name.lower()) for number in (least, most)]

    assert [least, most] == members
    for wrong in (least - 1, most + 1, "x", 1.5):
        with pytest.raises(ConfigurationError, match=f"ARTIFACTSTORE_{name} must be"):
            settings(**{name: str(wrong)})


def test_a_misspelt_setting_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"^ARTIFACTSTORE_API_TOKENS: there is no such setting") as caught:
        settings(API_TOKENS=SECRET)

    assert SECRET not in everything_told_of(caught.value)
