"""Tokens on a real database: made, shown once, proved, revoked; and a server's database that must be at head."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from hmac import compare_digest
from typing import TYPE_CHECKING

import pytest

from artifactstore.bootstrap import database_revision, open_registry
from artifactstore.catalog.contributions import head
from artifactstore.config import BackendSettings, Settings
from artifactstore.documents.access import token_document
from artifactstore.domain.access import StaticToken, parse_scopes
from artifactstore.domain.instant import LATEST, Instant
from artifactstore.errors import (
    ArtifactStoreError,
    CatalogCorruptError,
    CatalogUnavailableError,
    ConcurrentUpdateError,
    DatabaseVersionError,
    PackageInvalidError,
    TokenExistsError,
    TokenUnknownError,
    UnauthenticatedError,
    UsageError,
)
from artifactstore.registry import tokens
from artifactstore.registry.tokens import TokenUses, authenticate, create_token, list_tokens, revoke_token
from tests.support import say_revision

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from artifactstore.catalog.catalog import Transaction
    from artifactstore.registry.registry import Registry

HOUR = 3_600_000_000


def static(name: str, scope: str, secret: str) -> StaticToken:
    return StaticToken(name, parse_scopes([scope]), sha256(secret.encode()).digest())


def at(registry: Registry, instant: int) -> Registry:
    """The same store, at another time."""
    return replace(registry, clock=lambda: Instant(instant))


def secret_of(text: str) -> str:
    return text.split("_", 2)[2]


# making one


def test_a_token_proves_who_shows_it(registry: Registry) -> None:
    expires_at = Instant(registry.clock() + HOUR)
    text, record = create_token(registry, "ci", ["write:ci", "read"], expires_at=expires_at)

    caller = authenticate(registry, text)

    assert ("ci", "token:ci", expires_at) == (caller.name, caller.actor, caller.expires_at)
    assert ["read", "write:ci"] == [str(scope) for scope in caller.scopes]
    assert record.token_id == caller.token_id == text.split("_", 2)[1]


def test_its_text_has_an_id_and_256_bits(registry: Registry) -> None:
    texts = [create_token(registry, f"t{number}", ["read"])[0] for number in range(20)]

    for text in texts:
        word, token_id, secret = text.split("_", 2)
        assert ("as", 16, 43) == (word, len(token_id), len(secret))
    assert 20 == len({text.split("_", 2)[1] for text in texts}) == len({secret_of(text) for text in texts})


def test_the_record_says_who_made_it(registry: Registry) -> None:
    registry = at(registry, 1_900_000_000_000_000)

    _, record = create_token(registry, "ci", ["write:ci", "read", "read"])

    assert [record] == list_tokens(registry)
    assert {
        "name": "ci",
        "token_id": record.token_id,
        "scopes": ["read", "write:ci"],
        "created_at": "2030-03-17T17:46:40.000000Z",
        "created_by": "local:tester",
        "expires_at": None,
        "revoked_at": None,
        "last_used_at": None,
    } == token_document(record)


def test_only_the_hash_is_stored(home: Path) -> None:
    registry = open_registry(Settings.from_environment({"ARTIFACTSTORE_HOME": str(home)}))
    text, _ = create_token(registry, "ci", ["read"])
    registry.close()

    stored = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert sha256(text.encode()).digest() in stored
    assert secret_of(text).encode() not in stored


def test_neither_text_nor_hash_is_listed_or_logged(registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    text, record = create_token(registry, "ci", ["read"])
    caller = authenticate(registry, text)
    listed = list_tokens(registry)

    told = f"{record!r} {listed!r} {[token_document(token) for token in listed]} {caller!r} {caplog.text}"

    assert secret_of(text) not in told
    assert repr(sha256(text.encode()).digest()) not in told


@pytest.mark.parametrize("name", ["", "CI", "c i", "ci;", "token:ci", "a" * 65])
def test_a_name_is_a_slug(registry: Registry, name: str) -> None:
    with pytest.raises(PackageInvalidError, match="the name"):
        create_token(registry, name, ["read"])

    assert [] == list_tokens(registry)


@pytest.mark.parametrize("scopes", [[], ["write"], ["read", "all"]])
def test_a_token_has_scopes_that_are_some(registry: Registry, scopes: list[str]) -> None:
    with pytest.raises(UsageError):
        create_token(registry, "ci", scopes)

    assert [] == list_tokens(registry)


@pytest.mark.parametrize("ahead", [0, -1, -HOUR])
def test_a_token_expires_in_the_future(registry: Registry, ahead: int) -> None:
    registry = at(registry, 10 * HOUR)

    with pytest.raises(UsageError, match="expired already"):
        create_token(registry, "ci", ["read"], expires_at=Instant(10 * HOUR + ahead))


def test_a_token_expires_at_a_time_that_can_be_written(registry: Registry) -> None:
    create_token(registry, "ci", ["read"], expires_at=LATEST)

    with pytest.raises(UsageError, match="no token lasts that long"):
        create_token(registry, "ci2", ["read"], expires_at=Instant(LATEST + 1))


def test_a_name_is_used_once_at_a_time(registry: Registry) -> None:
    text, record = create_token(registry, "ci", ["read"])

    with pytest.raises(TokenExistsError, match="a token named ci"):
        create_token(registry, "ci", ["admin"])

    assert [record] == list_tokens(registry)
    assert not authenticate(registry, text).is_admin


def test_a_name_whose_token_has_expired_is_not_free(registry: Registry) -> None:
    create_token(at(registry, HOUR), "ci", ["read"], expires_at=Instant(2 * HOUR))

    with pytest.raises(TokenExistsError):
        create_token(at(registry, 3 * HOUR), "ci", ["read"])


def test_the_database_too_keeps_a_name_from_being_used_twice(registry: Registry) -> None:
    _, record = create_token(registry, "ci", ["read"])

    with pytest.raises(ConcurrentUpdateError), registry.transaction() as tx:
        tokens.rows.insert_token(tx.connection, record._replace(token_id="0" * 16), bytes(32))


def test_tokens_are_no_events(registry: Registry) -> None:
    with registry.catalog.snapshot() as queries:
        before = list(queries.connection.execute("SELECT max(seq) FROM event"))

    create_token(registry, "ci", ["read"])
    revoke_token(registry, "ci")

    with registry.catalog.snapshot() as queries:
        assert before == list(queries.connection.execute("SELECT max(seq) FROM event"))


# revoking it


def test_a_revoked_token_proves_nothing_at_once(registry: Registry) -> None:
    text, record = create_token(registry, "ci", ["read"])

    revoked = revoke_token(at(registry, record.created_at + 5), "ci")

    assert record._replace(revoked_at=record.created_at + 5) == revoked
    assert [revoked] == list_tokens(registry)
    with pytest.raises(UnauthenticatedError):
        authenticate(registry, text)


def test_the_name_of_a_revoked_token_is_free(registry: Registry) -> None:
    first, _ = create_token(registry, "ci", ["read"])
    revoke_token(registry, "ci")

    second, record = create_token(registry, "ci", ["admin"])

    assert record.token_id == authenticate(registry, second).token_id
    assert 2 == len(list_tokens(registry))
    with pytest.raises(UnauthenticatedError):
        authenticate(registry, first)


def test_revoking_touches_no_token_of_another_name(registry: Registry) -> None:
    kept, _ = create_token(registry, "kept", ["read"])
    create_token(registry, "ci", ["read"])

    revoke_token(registry, "ci")

    assert "kept" == authenticate(registry, kept).name


def test_what_is_not_in_use_cannot_be_revoked(registry: Registry) -> None:
    create_token(registry, "ci", ["read"])
    revoke_token(registry, "ci")

    for name in ("ci", "other", "Not A Slug"):
        with pytest.raises(TokenUnknownError, match=f"no token named '{name}' is in use"):
            revoke_token(registry, name)


# refusing it


def refusal(registry: Registry, text: str, *static_tokens: StaticToken) -> ArtifactStoreError:
    with pytest.raises(UnauthenticatedError) as caught:
        authenticate(registry, text, static=static_tokens)
    return caught.value


def test_every_refusal_is_the_same_and_repeats_nothing(registry: Registry) -> None:
    now = registry.clock()
    good, _ = create_token(registry, "good", ["read"])
    revoked, _ = create_token(registry, "revoked", ["read"])
    expired, _ = create_token(at(registry, now - 2 * HOUR), "expired", ["read"], expires_at=Instant(now - HOUR))
    revoke_token(registry, "revoked")
    another_secret = good[:-43] + secret_of(revoked)
    another_id = f"as_{'0' * 16}_{secret_of(good)}"
    malformed = [
        "",
        "as_",
        "Bearer",
        good[:-1],
        f"{good}a",
        f"{good}\n",
        good.upper(),
        "\udcff",
        "é" * 63,
        "a" * 10_000,
    ]
    texts = [revoked, expired, another_secret, another_id, *malformed]

    refusals = [refusal(registry, text, static("s", "read", "x" * 24)) for text in texts]

    assert 1 == len({(error.message, error.hint, error.problems, error.code) for error in refusals})
    assert all(error.__cause__ is None and error.__context__ is None for error in refusals)
    assert "good" == authenticate(registry, good).name


def test_a_token_is_good_until_it_expires_and_not_then(registry: Registry) -> None:
    text, _ = create_token(at(registry, HOUR), "ci", ["read"], expires_at=Instant(2 * HOUR))

    assert "ci" == authenticate(at(registry, 2 * HOUR - 1), text).name
    refusal(at(registry, 2 * HOUR), text)


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What hashes a shown token is compared with."""
    found: list[bytes] = []

    def counting(stored: bytes, shown: bytes) -> bool:
        found.append(stored)
        return compare_digest(stored, shown)

    monkeypatch.setattr(tokens, "compare_digest", counting)
    return found


def test_as_many_hashes_are_compared_whatever_is_shown(registry: Registry, compared: list[bytes]) -> None:
    text, _ = create_token(registry, "ci", ["read"])
    fixed = [static(f"s{number}", "read", f"static-secret-number-{number}") for number in range(3)]
    shown = [
        text, text[:-1] + ("A" if text[-1] != "A" else "B"), f"as_{'0' * 16}_{secret_of(text)}", "nonsense", "",
        "static-secret-number-0", "static-secret-number-2",
    ]  # fmt: skip

    counts = []
    for each in shown:
        compared.clear()
        with suppress(UnauthenticatedError):
            authenticate(registry, each, static=fixed)
        assert {32} == {len(stored) for stored in compared}
        counts.append(len(compared))

    assert [4] * len(shown) == counts


def test_nothing_has_the_hash_that_stands_in_for_an_unknown_id(registry: Registry, compared: list[bytes]) -> None:
    create_token(registry, "ci", ["read"])

    refusal(registry, f"as_{'0' * 16}_{'a' * 43}")

    assert [bytes(32)] == compared


def test_scopes_that_are_none_are_damage(registry: Registry) -> None:
    text, _ = create_token(registry, "ci", ["read"])
    with registry.transaction() as tx:
        tx.connection.execute("UPDATE token SET scopes = 'all'")

    with pytest.raises(CatalogCorruptError, match="token ci has scopes that are none"):
        authenticate(registry, text)


# static ones


def test_a_static_token_proves_who_shows_it(registry: Registry) -> None:
    fixed = [static("ops", "admin", "a-secret-of-24-characters"), static("ci", "write:ci", "b-secret-of-24-characters")]

    caller = authenticate(registry, "b-secret-of-24-characters", static=fixed)

    assert ("ci", "token:ci", None, "") == (caller.name, caller.actor, caller.expires_at, caller.token_id)
    assert (True, False) == (caller.can_write("ci"), caller.is_admin)
    refusal(registry, "c-secret-of-24-characters", *fixed)


def test_stored_tokens_are_good_beside_static_ones(registry: Registry) -> None:
    text, _ = create_token(registry, "ci", ["read"])

    caller = authenticate(registry, text, static=[static("ops", "admin", "a-secret-of-24-characters")])

    assert ("ci", False) == (caller.name, caller.is_admin)


def test_a_setting_is_the_token_it_says(registry: Registry) -> None:
    secret = "a-secret-of-24-characters"
    settings = Settings.from_environment({"ARTIFACTSTORE_AUTH_TOKENS": f"ci write:ci {secret}"})

    assert "ci" == authenticate(registry, secret, static=settings.auth_tokens).name


# their use


def last_uses(registry: Registry) -> dict[str, int | None]:
    return {token.name: token.last_used_at for token in list_tokens(registry)}


def test_uses_are_written_when_they_are_flushed(registry: Registry) -> None:
    (_, first), (_, second) = create_token(registry, "first", ["read"]), create_token(registry, "second", ["read"])
    create_token(registry, "third", ["read"])
    uses = TokenUses()

    uses.note(first.token_id, Instant(10))
    uses.note(first.token_id, Instant(30))
    uses.note(first.token_id, Instant(20))
    uses.note(second.token_id, Instant(0))
    before = last_uses(registry)
    uses.flush(registry)

    assert {"first": None, "second": None, "third": None} == before
    assert {"first": 30, "second": 0, "third": None} == last_uses(registry)


def test_the_last_use_never_moves_back(registry: Registry) -> None:
    _, record = create_token(registry, "ci", ["read"])
    earlier, later = TokenUses(), TokenUses()
    later.note(record.token_id, Instant(30))
    later.flush(registry)

    earlier.note(record.token_id, Instant(20))
    earlier.flush(registry)

    assert {"ci": 30} == last_uses(registry)


class CountingCatalog:
    """A catalog that counts its transactions and can be too busy for one."""

    def __init__(self, registry: Registry) -> None:
        self._catalog = registry.catalog
        self.transactions = 0
        self.busy = False

    def transaction(self, actor: str) -> AbstractContextManager[Transaction]:
        self.transactions += 1
        if self.busy:
            raise CatalogUnavailableError("planted")
        return self._catalog.transaction(actor)


def test_a_flush_with_nothing_new_writes_nothing(registry: Registry) -> None:
    _, record = create_token(registry, "ci", ["read"])
    catalog, uses = CountingCatalog(registry), TokenUses()
    watched = replace(registry, catalog=catalog)  # type: ignore[arg-type]

    uses.flush(watched)
    uses.note("", Instant(10))
    uses.flush(watched)
    for _ in range(100):
        uses.note(record.token_id, Instant(10))
    uses.flush(watched)
    uses.flush(watched)

    assert 1 == catalog.transactions


def test_what_could_not_be_written_is_written_next_time(registry: Registry) -> None:
    _, record = create_token(registry, "ci", ["read"])
    catalog, uses = CountingCatalog(registry), TokenUses()
    watched = replace(registry, catalog=catalog)  # type: ignore[arg-type]
    catalog.busy = True

    uses.note(record.token_id, Instant(20))
    with pytest.raises(CatalogUnavailableError):
        uses.flush(watched)
    uses.note(record.token_id, Instant(10))
    catalog.busy = False
    uses.flush(watched)

    assert {"ci": 20} == last_uses(registry)


def test_uses_of_many_threads_come_to_the_latest(registry: Registry) -> None:
    _, record = create_token(registry, "ci", ["read"])
    uses = TokenUses()

    def note_many(start: int) -> None:
        for at_us in range(start, 4000, 8):
            uses.note(record.token_id, Instant(at_us))
            if at_us % 800 == start:
                uses.flush(registry)

    in_threads([lambda start=start: note_many(start) for start in range(8)])  # type: ignore[misc]
    uses.flush(registry)

    assert {"ci": 3999} == last_uses(registry)


def in_threads(works: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_of_many_who_make_the_same_token_at_once_one_does(registry: Registry) -> None:
    outcomes: list[str] = []

    def make() -> None:
        try:
            outcomes.append(create_token(registry, "ci", ["read"])[0][:3])
        except TokenExistsError as error:
            outcomes.append(error.code)

    in_threads([make] * 8)

    assert [*["TOKEN_EXISTS"] * 7, "as_"] == sorted(outcomes)


# a server's database


@pytest.fixture
def at_an_earlier_revision(home: Path) -> Settings:
    """A store whose database says that it is not at head."""
    settings = Settings.from_environment({"ARTIFACTSTORE_HOME": str(home)})
    open_registry(settings).close()
    say_revision(home / "artifactstore.db", "0001")
    return settings


def test_a_database_that_is_not_there_is_refused_and_not_made(home: Path) -> None:
    settings = Settings.from_environment({"ARTIFACTSTORE_HOME": str(home)})

    with pytest.raises(DatabaseVersionError, match="is not there") as caught:
        open_registry(settings, upgrade=False)

    assert "artifactstore db upgrade" in (caught.value.hint or "")
    assert not home.exists()


def test_a_database_that_is_behind_is_refused_and_not_upgraded(at_an_earlier_revision: Settings) -> None:
    with pytest.raises(DatabaseVersionError, match=f"at revision 0001, and this version needs {head()}") as caught:
        open_registry(at_an_earlier_revision, upgrade=False)

    assert "artifactstore db upgrade" in (caught.value.hint or "")
    assert "0001" == database_revision(at_an_earlier_revision.database_url)


def test_a_database_at_head_is_opened(registry: Registry, home: Path, database: dict[str, str]) -> None:
    create_token(registry, "ci", ["read"])
    settings = Settings.from_environment({"ARTIFACTSTORE_HOME": str(home), **database})

    other = open_registry(settings, upgrade=False)

    assert ["ci"] == [token.name for token in list_tokens(other)]
    other.close()


def test_a_database_in_memory_is_always_new(home: Path) -> None:
    settings = Settings(home=home, database_url="sqlite://", backends={"default": BackendSettings("memory://")})

    registry = open_registry(settings, upgrade=False)

    assert [] == list_tokens(registry)
    registry.close()


def test_a_file_that_nothing_was_written_to_has_no_revision_and_stays_so(home: Path) -> None:
    home.mkdir()
    (home / "artifactstore.db").touch()

    assert database_revision(f"sqlite:///{home}/artifactstore.db") is None
    assert [("artifactstore.db", 0)] == [(path.name, path.stat().st_size) for path in home.iterdir()]
