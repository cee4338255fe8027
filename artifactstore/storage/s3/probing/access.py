"""Who gets at an object and for how long it stays: presigned URLs, versions, Object Lock, the server's clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from artifactstore.storage.probing.probe import NOT_MEASURED, Capability, Finding
from artifactstore.storage.s3.errors import code_of
from artifactstore.storage.s3.probing.ground import OK, ask, refusal_of, words_of
from artifactstore.storage.s3.probing.signing import signed_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from artifactstore.storage.s3.probing.ground import Ground

_DATA = b"what a run leaves behind"
_EXPIRES_IN_S = 60
_LONG_AGO = timedelta(hours=2)
_MOST_SKEW_S = 5
_LOCKED_S = 3
_NO_LOCK = frozenset({"ObjectLockConfigurationNotFoundError", "InvalidRequest"})


def presigned(ground: Ground, public_client: Any) -> Iterator[Finding]:
    """A URL as users get it: asked as it is, for another object, for another method, and long after its time."""
    for name in ("presigned/it", "presigned/other"):
        ground.put(name, _DATA)
    request = {**ground.at("presigned/it"), "ResponseContentDisposition": "attachment"}
    url = str(public_client.generate_presigned_url("get_object", Params=request, ExpiresIn=_EXPIRES_IN_S))
    try:
        answer = ask("GET", url)
    except OSError as error:
        for capability in (Capability.PRESIGNED, Capability.PRESIGNED_BINDING, Capability.PRESIGNED_EXPIRY):
            yield Finding(capability, NOT_MEASURED, f"its address cannot be reached from here: {error}")
        return
    works = answer == (OK, _DATA)
    told = f"a GET of one object by a URL, without credentials: answered {answer[0]}"
    yield Finding(Capability.PRESIGNED, "works" if works else "refused", told)
    if works:
        yield _expiry(ground, url, str(public_client.meta.region_name))
        yield _binding(ground, url)


def versioning(ground: Ground) -> Iterator[Finding]:
    """The bucket's setting; and what is left of an object that was put and deleted."""
    answers: list[dict[str, Any]] = []
    refusal = refusal_of(lambda: answers.append(ground.client.get_bucket_versioning(Bucket=ground.bucket.name)))
    told = "the bucket's setting"
    if refusal is not None:
        yield Finding(Capability.VERSIONING, NOT_MEASURED, f"{told} was answered {words_of(refusal)}")
    else:
        yield Finding(
            Capability.VERSIONING,
            {"Enabled": "on", "Suspended": "suspended"}.get(answers[0].get("Status", ""), "off"),
            told,
        )
    yield _delete_leaves(ground)


def object_lock(ground: Ground) -> Iterator[Finding]:
    """If the bucket has it: an object locked for some seconds, which nobody may then delete or release sooner."""
    answers: list[dict[str, Any]] = []
    refusal = refusal_of(lambda: answers.append(ground.client.get_object_lock_configuration(Bucket=ground.bucket.name)))
    if refusal is not None:
        absent = code_of(refusal) in _NO_LOCK
        told = f"the bucket's setting was answered {words_of(refusal)}"
        yield Finding(Capability.OBJECT_LOCK, "absent" if absent else NOT_MEASURED, told)
    elif answers[0].get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") != "Enabled":
        yield Finding(Capability.OBJECT_LOCK, "absent", "the bucket's setting")
    else:
        yield _locked(ground)


def clock_skew(ground: Ground) -> Iterator[Finding]:
    """The server's clock by its Date header, which has whole seconds."""
    if (server := server_time(ground)) is None:
        yield Finding(Capability.CLOCK_SKEW, NOT_MEASURED, "the server does not say when it answers")
        return
    ahead_s = round((server - datetime.now(UTC)).total_seconds() + 0.5)
    told = "how far the server's Date header is ahead of this host's clock, to about a second"
    value = "small" if abs(ahead_s) <= _MOST_SKEW_S else "large"
    yield Finding(Capability.CLOCK_SKEW, value, told, {"ahead_s": ahead_s})


def server_time(ground: Ground) -> datetime | None:
    """When the server says that it answers."""
    answer = ground.client.list_objects_v2(Bucket=ground.bucket.name, Prefix=ground.bucket.prefix, MaxKeys=1)
    said = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    return parsedate_to_datetime(said) if said else None


def _binding(ground: Ground, url: str) -> Finding:
    other_key = ask("GET", url.replace("/presigned/it?", "/presigned/other?"))[0]
    other_method = ask("PUT", url, body=b"written by a URL that was given to read")[0]
    changed = ground.get("presigned/it") != _DATA
    told = f"the same URL for another object: answered {other_key}; a PUT by it: {other_method}"
    bound = OK not in {other_key, other_method} and not changed
    return Finding(Capability.PRESIGNED_BINDING, "bound" if bound else "not bound", told)


def _expiry(ground: Ground, url: str, region: str) -> Finding:
    """Signed two hours ago for a minute; that signing in the past works at all, a URL for longer must show."""
    then = datetime.now(UTC) - _LONG_AGO
    valid = signed_at(ground, url, region, then, expires_in_s=int(3 * _LONG_AGO.total_seconds()))
    expired = signed_at(ground, url, region, then, expires_in_s=_EXPIRES_IN_S)
    if valid is None or expired is None or ask("GET", valid)[0] != OK:
        return Finding(Capability.PRESIGNED_EXPIRY, NOT_MEASURED, "a URL that was signed earlier could not be made")
    status = ask("GET", expired)[0]
    told = f"a URL that was signed two hours ago for {_EXPIRES_IN_S} s: answered {status}"
    return Finding(Capability.PRESIGNED_EXPIRY, "does not expire" if status == OK else "expires", told)


def _delete_leaves(ground: Ground) -> Finding:
    name = "versions/deleted"
    ground.put(name, _DATA)
    ground.delete(name)
    found: list[dict[str, str]] = []
    refusal = refusal_of(lambda: found.extend(ground.versions(name)))
    told = "what the versions of an object are after it was put and deleted"
    if refusal is not None:
        return Finding(Capability.DELETE_LEAVES, NOT_MEASURED, f"{told} was answered {words_of(refusal)}")
    readable = [each for each in found if refusal_of(_reading(ground, each)) is None]
    return Finding(
        Capability.DELETE_LEAVES, "an older version" if readable else "nothing", told, {"versions": len(found)}
    )


def _reading(ground: Ground, version: dict[str, str]) -> Callable[[], object]:
    return lambda: ground.client.head_object(**version)


def _locked(ground: Ground) -> Finding:
    """Locked in compliance mode for so short that the probe can clear it away when it is done."""
    name = "locked"
    now = server_time(ground) or datetime.now(UTC)
    until = now + timedelta(seconds=_LOCKED_S)
    lock = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": until}
    answers: list[dict[str, Any]] = []
    refusal = refusal_of(lambda: answers.append(ground.put(name, _DATA, **lock)))
    if refusal is not None:
        return Finding(Capability.OBJECT_LOCK, NOT_MEASURED, f"a put with a lock was answered {words_of(refusal)}")
    version = {**ground.at(name), "VersionId": answers[0].get("VersionId", "")}
    sooner = {"Mode": "COMPLIANCE", "RetainUntilDate": now + timedelta(seconds=1)}
    shortened = refusal_of(lambda: ground.client.put_object_retention(**version, Retention=sooner)) is None
    deleted = refusal_of(lambda: ground.client.delete_object(**version)) is None
    told = f"an object locked in compliance mode for {_LOCKED_S} s, released and deleted; artifactstore sets no locks"
    if not deleted:
        time.sleep(1 + (1 if shortened else _LOCKED_S))
    return Finding(Capability.OBJECT_LOCK, "can be shortened" if shortened or deleted else "kept", told)
