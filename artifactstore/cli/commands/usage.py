"""``artifactstore usage``: where the bytes are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from artifactstore.cli.door import door_of
from artifactstore.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator


def usage(
    context: typer.Context,
    producer: Annotated[str | None, typer.Option(metavar="PRODUCER", help="This producer's alone.")] = None,
    package: Annotated[str | None, typer.Option(metavar="ID", help="Of one package.")] = None,
) -> None:
    """Show where the bytes are: by producer and backend, or of one package.

    Logical bytes are those of all files. Unique ones nobody else has: they come free with the last
    package that has them. Shared ones others have too. Reclaimable ones `artifactstore collect` can free.
    """
    if producer is not None and package is not None:
        raise UsageError("--producer and --package exclude each other")
    door = door_of(context)
    with door.store() as store:
        document = store.usage(producer) if package is None else _of_package(store.show_package(package, files=False))
    door.answer(document)
    if door.someone_is_watching:
        for line in _in_words(document):
            door.say(line)


def _of_package(details: dict[str, Any]) -> dict[str, object]:
    told = details.get("usage") or {}
    return {
        "package_id": details["package_id"],
        "producer": details["producer"],
        "logical_bytes": 0 if details["deletion"] else details["total_bytes"],
        **told,
    }


def _in_words(document: dict[str, Any]) -> Iterator[str]:
    for each in document.get("producers", []):
        split = f", {each['unique_bytes']:,} of them its own alone" if "unique_bytes" in each else ""
        quota = f"; {each['quota']['free_bytes']:,} are free of its quota" if each["quota"] else ""
        yield f"{each['producer']}: {each['logical_bytes']:,} bytes in {each['packages']:,} package(s){split}{quota}"
    for each in document.get("backends", []):
        yield f"{each['backend']}: {each['stored_bytes']:,} bytes, {each['reclaimable_bytes']:,} of them reclaimable"
