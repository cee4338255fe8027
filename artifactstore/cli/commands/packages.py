"""Packages: push, list, show, manifest, get, verify."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from artifactstore.cli.door import door_of
from artifactstore.cli.exit_codes import PARTLY_DONE, SYSTEM_FAILED
from artifactstore.errors import UsageError

if TYPE_CHECKING:
    from artifactstore.documents import Document
    from artifactstore.domain.canonical import JsonValue
    from artifactstore.registry.directory import TreeFile

PackageId = Annotated[str, typer.Argument(help="A package id.", show_default=False)]
Limit = Annotated[int, typer.Option(help="How many at most.", min=1, max=10_000)]


def push(
    context: typer.Context,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The directory to store.", show_default=False)],
    producer: Annotated[str, typer.Option(help="Who made the run: a-z 0-9 . _ -", show_default=False)],
    external_id: Annotated[str | None, typer.Option(help="The producer's own id of the run.")] = None,
    subject: Annotated[str | None, typer.Option(help="What the run was about.")] = None,
    schema: Annotated[str | None, typer.Option(metavar="SLUG", help="A registered metadata schema.")] = None,
    metadata: Annotated[Path | None, typer.Option(metavar="FILE", help="The metadata, a JSON object.")] = None,
    retention: Annotated[str, typer.Option(metavar="CLASS", help="How long to keep it.")] = "summary-evidence",
    revision: Annotated[bool, typer.Option("--revision", help="Record changed content as the next revision.")] = False,
) -> None:
    """Store a directory as one immutable package.

    The same content under the same external id is answered with the package that is there.

    Example: artifactstore push build/reports --producer ci --external-id build-1234
    """
    from artifactstore.domain.media_type import media_type_of
    from artifactstore.domain.package import DEFAULT_ROLE, FileDraft, PackageDraft
    from artifactstore.domain.retention import RetentionClass
    from artifactstore.registry.directory import DirectoryTree

    door = door_of(context)
    retention_class = RetentionClass.parse(retention)
    document = _read_metadata(metadata)
    with door.store() as store, DirectoryTree(directory) as tree:
        found = tree.files(max_files=store.max_files)
        draft = PackageDraft(
            producer=producer,
            files=tuple(FileDraft(file.path, file, DEFAULT_ROLE, media_type_of(file.path)) for file in found),
            retention_class=retention_class,
            external_id=external_id,
            subject=subject,
            schema=schema,
            metadata=document,
        )
        with door.progress(total_bytes=_total_bytes(found) if door.someone_is_watching else None) as progress:
            receipt = store.push(draft, as_revision=revision, progress=progress)
    _warn_of_case_collisions(context, found)
    door.answer(receipt)


def list_(
    context: typer.Context,
    producer: Annotated[str | None, typer.Option(help="Only this producer's.")] = None,
    external_id: Annotated[str | None, typer.Option(help="Only this external id.")] = None,
    subject: Annotated[str | None, typer.Option(help="Only about this subject.")] = None,
    schema: Annotated[str | None, typer.Option(metavar="SLUG", help="Only with this metadata schema.")] = None,
    retention: Annotated[str | None, typer.Option(metavar="CLASS", help="Only of this retention class.")] = None,
    status: Annotated[str | None, typer.Option(help="open, finalized, expired or deleted.")] = None,
    metadata: Annotated[
        str | None, typer.Option(metavar="KEY=VALUE", help="Only with this top-level member of the metadata.")
    ] = None,
    digest: Annotated[str | None, typer.Option(help="Only with a file of this blake3: digest.")] = None,
    after: Annotated[str | None, typer.Option(metavar="ID", help="Start after this package.")] = None,
    limit: Limit = 100,
) -> None:
    """List packages in the order they were opened.

    "next_after" in the answer is what to give --after for the next page; null at the end.
    """
    from artifactstore.catalog.package_filter import PackageFilter
    from artifactstore.domain.package import PackageStatus
    from artifactstore.domain.retention import RetentionClass

    door = door_of(context)
    wanted = PackageFilter(
        producer=producer,
        external_id=external_id,
        subject=subject,
        schema_slug=schema,
        retention_class=RetentionClass.parse(retention) if retention else None,
        status=PackageStatus.parse(status) if status else None,
        metadata=_member(metadata) if metadata else None,
        blob=_address(digest) if digest else None,
    )
    with door.store() as store:
        door.answer(store.list_packages(wanted, after=after, limit=limit))


def show(
    context: typer.Context,
    package_id: PackageId,
    files: Annotated[bool, typer.Option("--files/--no-files", help="List the package's files.")] = True,
) -> None:
    """Show one package: its digest, metadata, retention, holds, where it was observed, and files."""
    door = door_of(context)
    with door.store() as store:
        door.answer(store.show_package(package_id, files=files))


def manifest(
    context: typer.Context,
    package_id: PackageId,
    as_json: Annotated[bool, typer.Option("--json", help="The JSON view instead of the CBOR bytes.")] = False,
) -> None:
    """Write a package's manifest to standard output: the exact CBOR bytes, or their JSON view.

    Example: artifactstore manifest ID | b3sum      (prints the manifest digest)
    """
    from artifactstore.domain.manifest import Manifest

    if not as_json and sys.stdout.isatty():
        raise UsageError("a manifest is binary", hint="Redirect it to a file, or use --json.")
    with door_of(context).store() as store:
        encoded = store.manifest(package_id)
    sys.stdout.buffer.write(Manifest.decode(encoded).to_json() + b"\n" if as_json else encoded)


def get(
    context: typer.Context,
    package_id: PackageId,
    path: Annotated[str | None, typer.Argument(help="One file; all of them if left out.", show_default=False)] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DEST", help="Where to write; it must not exist. - for standard output."
        ),
    ] = None,
) -> None:
    """Write a package's files, or one of them, checking every byte against its digest.

    Nothing appears at DEST until all of it is there and right. Nothing is overwritten.

    Example, all files: artifactstore get ID -o run

    Example, one file: artifactstore get ID reports/report.md -o -
    """
    door = door_of(context)
    if output is None or (str(output) == "-" and path is None):
        raise UsageError("there is nowhere to write to", hint="Add -o DEST; -o - writes one file to standard output.")
    with door.store() as store:
        if path is None:
            with door.progress() as progress:
                count = store.get_package(package_id, output, progress=progress)
            door.answer({"package_id": package_id, "destination": str(output), "file_count": count})
        elif str(output) == "-":
            store.send_file(package_id, path, sys.stdout.buffer)
        else:
            size_bytes = store.get_file(package_id, path, output)
            door.answer({"package_id": package_id, "path": path, "destination": str(output), "size": size_bytes})


def verify(
    context: typer.Context,
    package_id: Annotated[str | None, typer.Argument(help="A package id.", show_default=False)] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every package and every object.")] = False,
) -> None:
    """Read stored bytes back and compare them with every digest that is recorded of them.

    Damage is named by package and file, recorded, and answered with exit code 2. A backend that gives no answer is
    passed over and named: exit code 3 if the others have no damage. If none answers, that is the error.
    """
    if everything == (package_id is not None):
        raise UsageError("verify needs a package id or --all")
    door = door_of(context)
    with door.store() as store, door.progress() as progress:
        if package_id is None:
            report = store.verify_all(progress=progress)
        else:
            report = store.verify_package(package_id, progress=progress)
    answer_verification(context, report)


def answer_verification(context: typer.Context, report: Document) -> None:
    """Print the report; name every damage and every silent backend to a person; exit 2 or 3 if there is any."""
    door = door_of(context)
    door.answer(report)
    damaged = cast("list[Document]", report["damage"])
    for damage in damaged:
        where = f"package {damage['package_id']}, file {damage['path']}" if damage["path"] else damage["object_key"]
        expected, found = damage["expected_blake3"], damage["found_blake3"] or "nothing"
        door.say(f"damaged: {where}: {damage['finding']}; expected {expected}, found {found}")
    unreachable = cast("list[Document]", report.get("unreachable", []))  # an older server does not say
    for silent in unreachable:
        door.say(f"not looked at: backend {silent['backend']}: {silent['message'] or silent['code']}")
    if damaged:
        raise typer.Exit(SYSTEM_FAILED)
    if unreachable:
        raise typer.Exit(PARTLY_DONE)


def _member(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"{text[:80]!r} is not KEY=VALUE", hint="Such as --metadata branch=main")
    return key, value


def _address(text: str) -> bytes:
    from artifactstore.domain.digest import Digest

    digest = Digest.parse(text)
    if digest.algorithm != "blake3":
        raise UsageError("files are found by their blake3: digest")
    return digest.raw


def _read_metadata(path: Path | None) -> dict[str, JsonValue] | None:
    if path is None:
        return None
    from artifactstore.cli.input_files import read_json_object

    return read_json_object(path)


def _total_bytes(files: list[TreeFile]) -> int:
    return sum(file.size_bytes() for file in files)


def _warn_of_case_collisions(context: typer.Context, files: list[TreeFile]) -> None:
    from artifactstore.domain.paths import case_collisions

    for group in case_collisions(file.path for file in files):
        door_of(context).say(f"note: these differ only in case: {', '.join(group)}")
