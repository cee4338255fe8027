"""Stored objects: list, verify, reconcile; what a backend can do: probe; from one backend to another: copy, migrate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import typer

from artifactstore.cli.commands import scrub
from artifactstore.cli.commands.packages import answer_verification
from artifactstore.cli.door import Door, door_of
from artifactstore.cli.exit_codes import PARTLY_DONE, SYSTEM_FAILED

if TYPE_CHECKING:
    from artifactstore.registry.copying import CopyReport
    from artifactstore.registry.probing import ProbeReport
    from artifactstore.registry.registry import Registry
    from artifactstore.storage.port import ObjectStore

app = typer.Typer(no_args_is_help=False, rich_markup_mode=None)
app.add_typer(scrub.app, name="scrub", help="Reading everything back, little by little: pause, resume.")

Source = Annotated[str, typer.Option("--from", metavar="NAME", help="The backend to read from.", show_default=False)]
Target = Annotated[str, typer.Option("--to", metavar="NAME", help="The backend to store in.", show_default=False)]


@app.command("list")
def list_(
    context: typer.Context,
    after: Annotated[int, typer.Option(metavar="N", help="Start after this position.", min=0, max=2**63 - 1)] = 0,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1, max=10_000)] = 100,
) -> None:
    """List the objects the catalog knows: large blobs, packs, manifests.

    "next_after" in the answer is what to give --after for the next page; null at the end.
    """
    door = door_of(context)
    with door.store() as store:
        door.answer(store.list_objects(after=after, limit=limit))


@app.command()
def verify(
    context: typer.Context,
    subset: Annotated[
        str | None, typer.Option(metavar="K/N", help="Only the K-th of N parts of the store.", show_default=False)
    ] = None,
) -> None:
    """Read every object back and compare it with its digest and with those of the blobs in it.

    With --subset 1/7 today, 2/7 tomorrow and so on, everything is read in seven days: which part an object is in is
    told by its digest alone. That works on the host of the store only. The exit code is 2 if anything is damaged, 3 if
    nothing is but a backend gave no answer and was passed over.
    """
    door = door_of(context)
    if subset is not None:
        return _verify_subset(context, subset)
    with door.store() as store, door.progress() as progress:
        report = store.verify_objects(progress=progress)
    return answer_verification(context, report)


def _verify_subset(context: typer.Context, subset: str) -> None:
    from artifactstore.documents.storage import verification_document
    from artifactstore.registry.verify import Subset, verify_objects

    door, part = door_of(context), Subset.parse(subset)
    with door.registry() as registry, door.progress() as progress:
        report = verify_objects(registry, subset=part, progress=progress)
    answer_verification(context, verification_document(report))


@app.command()
def reconcile(
    context: typer.Context,
    after: Annotated[int, typer.Option(metavar="N", help="Name differences after so many.", min=0, max=2**63 - 1)] = 0,
    limit: Annotated[int, typer.Option(help="Name so many at most.", min=1, max=10_000)] = 1_000,
) -> None:
    """Compare what backends list with what the catalog has in them. Nothing is read, nothing is changed.

    Named are objects that nothing refers to, references to nothing, wrong sizes, what broken-off writes have left, and
    files that are not ours; with the packages and paths they concern. What is so young that somebody may be about to
    record it is said to be young, and is no difference. --backend NAME compares one backend alone. "next_after" is what
    to give --after for more. The exit code is 0 if all is as recorded, 3 if something differs or a backend gave no
    answer.

    Example: artifactstore storage reconcile --backend archive
    """
    door = door_of(context)
    with door.store() as store, door.progress() as progress:
        document = store.reconcile(backend=door.backend, after=after, limit=limit, progress=progress)
    door.answer(document)
    if door.someone_is_watching:
        for kind, tally in cast("dict[str, dict[str, int]]", document["totals"]).items():
            if tally["count"]:
                door.say(f"{kind.replace('_', ' ')}: {tally['count']}, {tally['size_bytes']} bytes")
    for each in cast("list[dict[str, str]]", document["unreachable"]):
        door.say(f"not compared: backend {each['backend']}: {each['message']}")
    if document["status"] != "clean":
        raise typer.Exit(PARTLY_DONE)


@app.command()
def seal(context: typer.Context) -> None:
    """Store what the event log has grown by since it was last sealed, now.

    A server does it by itself: everything within a quarter of an hour, a thousand events at once. What is sealed comes
    back by `rebuild --from-storage`.
    """
    door = door_of(context)
    with door.store() as store:
        door.answer(store.seal_log())


@app.command()
def probe(
    context: typer.Context,
    backend: Annotated[
        str | None, typer.Argument(metavar="NAME|URL", help="The default backend, if left out.", show_default=False)
    ] = None,
) -> None:
    """Measure what a backend can do, say so, and keep the report.

    It writes below "probe/" in the backend, and removes what it wrote. The exit code is 0 if the backend is usable,
    with limits or without, 1 if its URL or the credentials are wrong, 2 if it would lose or alter data: then "reasons"
    says why, and nothing is stored there any more until a later probe finds it mended.

    Examples: artifactstore storage probe, artifactstore storage probe s3://bucket/prefix
    """
    from artifactstore.documents.storage import probe_document
    from artifactstore.registry.probing import probe_backend

    door = door_of(context)
    with door.registry() as registry:
        report = probe_backend(registry, _backend_of(registry, backend))
    door.answer(probe_document(report))
    if door.someone_is_watching:
        _tell(door, report)
    if report.judgement.reasons:
        raise typer.Exit(SYSTEM_FAILED)


@app.command()
def copy(
    context: typer.Context,
    source: Source,
    target: Target,
    package: Annotated[str | None, typer.Option(metavar="ID", help="Only what this package needs.")] = None,
) -> None:
    """Copy every object of a backend that another lacks, or has only as damaged. Both stay in use.

    Stopped, it goes on when it is run again. What is found damaged in the source is named, and what is sound of it is
    saved. The exit code is 2 if anything was damaged, 3 if objects were passed over because they are being removed.

    Example: artifactstore storage copy --from disk --to archive
    """
    from artifactstore.documents.storage import copy_document
    from artifactstore.registry.copying import copy_backend

    door = door_of(context)
    with door.registry() as registry, door.progress() as progress:
        report = copy_backend(registry, source, target, package_id=package, progress=progress)
    door.answer(copy_document(report, source, target))
    _name_damage(door, report)
    if report.passed_over:
        raise typer.Exit(PARTLY_DONE)


@app.command()
def migrate(
    context: typer.Context,
    source: Source,
    target: Target,
    wait_s: Annotated[float, typer.Option(metavar="N", help="Seconds to wait for those who still write.", min=0)] = 60,
    grace_s: Annotated[float, typer.Option(metavar="N", help="Seconds that readers have to finish.", min=0)] = 60,
) -> None:
    """Empty a backend into another while both are in use, so that it can be taken out of the configuration.

    Copies everything, reads every copy back, has new objects go to the other backend, waits for whoever still writes to
    the old one, copies the rest, and deletes what has a sound copy. Every server of the store must have the other
    backend in its configuration before. The exit code is 2 if something is damaged and so is left there, 3 if somebody
    may still write there: "waiting_for" says who. Stopped at any point, it goes on when it is run again.

    Example: artifactstore storage migrate --from disk --to archive
    """
    from artifactstore.documents.storage import migration_document
    from artifactstore.registry.emptying import migrate

    door = door_of(context)
    with door.registry() as registry, door.progress() as progress:
        report = migrate(registry, source, target, wait_s=wait_s, grace_s=grace_s, progress=progress)
    door.answer(migration_document(report, source, target))
    for writer in report.waiting_for:
        door.say(f"waiting for: {writer.what} {writer.name} of {writer.owner}")
    if report.is_done:
        door.say(
            f"Nothing refers to {source} any more: make {target} the default in the configuration of every server,"
            f" and take {source} out."
        )
    _name_damage(door, report.copy)
    if not report.is_done:
        raise typer.Exit(PARTLY_DONE)


def _name_damage(door: Door, report: CopyReport) -> None:
    """Name every damage to a person; exit 2 if there is any."""
    for what, found in (("damaged", report.damage), ("lost", report.lost)):
        for damage in found:
            where = f"package {damage.package_id}, file {damage.path}" if damage.path else damage.object_key
            door.say(f"{what}: {where}: {damage.finding}")
    if report.damage or report.lost:
        raise typer.Exit(SYSTEM_FAILED)


def _backend_of(registry: Registry, named: str | None) -> ObjectStore:
    """By its name or its URL."""
    from artifactstore.bootstrap import open_store
    from artifactstore.config import backend_at

    if named is None:
        return registry.store
    if "://" in named:
        configured = backend_at(named)
        return open_store(configured.url, configured.options)
    return registry.putting_to(named).backend(named)


def _tell(door: Door, report: ProbeReport) -> None:
    for reason in report.judgement.reasons:
        door.say(f"refused: {reason}")
    for limit in report.judgement.limits:
        door.say(f"limit: {limit}")
    door.say(f"{report.target}: {report.judgement.verdict}")
