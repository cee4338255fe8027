"""Rebuild: a database from what the backends have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from artifactstore.cli.door import door_of
from artifactstore.cli.exit_codes import PARTLY_DONE
from artifactstore.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.registry.rebuilding import RebuildReport

_LOG_ID_BYTES = 32


def rebuild(
    context: typer.Context,
    from_storage: Annotated[bool, typer.Option("--from-storage", help="From the backends alone.")] = False,
    log: Annotated[
        str | None, typer.Option(metavar="HEX", help="Which log, if the backends have several.", show_default=False)
    ] = None,
) -> None:
    """Fill an empty database from what the backends have, when the one of the store is gone.

    The event log comes back from its segments, with every package, hold and time in it. Of what was recorded after the
    last segment, packages come back whose manifest and files are all there: under new ids, without who made them and
    when ("recovered"). Lost besides are tokens, open packages and how far subscribers were told. What is lost is named,
    and the exit code is 3 if anything is. Stopped at any point, it goes on when it is run again. Then `replay --check`
    shows that the tables follow from the log, and `verify --all` reads the bytes.

    Example: ARTIFACTSTORE_DATABASE_URL=sqlite:////srv/new.db artifactstore rebuild --from-storage
    """
    if not from_storage:
        raise UsageError("a store is rebuilt from its storage", hint="Use rebuild --from-storage.")
    log_id = _log_id(log)
    from artifactstore.documents.upkeep import rebuild_document
    from artifactstore.registry.rebuilding import rebuild

    door = door_of(context)
    with door.registry() as registry, door.progress() as progress:
        report = rebuild(registry, log_id=log_id, schemas=_packaged_schemas(), progress=progress)
    door.answer(rebuild_document(report))
    for line in _in_words(report):
        door.say(line)
    if not report.is_whole:
        raise typer.Exit(PARTLY_DONE)


def _in_words(report: RebuildReport) -> Iterator[str]:
    if report.recovered:
        yield (
            f"{len(report.recovered)} package(s) were recorded after event {report.sealed_events}, the last that was"
            " sealed: they have new ids, and who made them, and when, is not known"
        )
    for lost in report.lost:
        yield f"lost: manifest {lost.manifest} of {lost.producer}, {lost.external_id}: {lost.why}"
    for path, why in report.damaged_segments.items():
        yield f"damaged: {path}: {why}"
    for each in report.not_followed:
        yield f"not followed: events {each.first_seq} to {each.last_seq}, which do not follow from those before"
    if report.comparison is not None and not report.comparison.is_clean:
        yield "storage and catalog differ: see `comparison`, or run `artifactstore storage reconcile`"
    yield "Tokens, open packages and how far subscribers were told are not in storage: make and set them again."


def _log_id(text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != _LOG_ID_BYTES:
        raise UsageError(f"{text[:80]!r} is not the id of a log", hint="64 hex digits, as `replay --check` says them.")
    return found


def _packaged_schemas() -> Mapping[str, JsonValue]:
    """The metadata schemas of our own pilots, by slug."""
    import json
    from importlib.resources import files

    found = [each for each in files("artifactstore").joinpath("schemas").iterdir() if each.name.endswith(".json")]
    return {each.name.removesuffix(".json"): json.loads(each.read_bytes()) for each in found}
