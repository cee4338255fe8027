"""What is counted, counted again: from the rows of packages, files, blobs, locations and objects alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from artifactstore.domain.zip_format import ZipEntry, archive_size

if TYPE_CHECKING:
    from artifactstore.catalog.database import Connection
    from artifactstore.registry.registry import Registry


def assert_counted(registry: Registry) -> None:
    """Every counter is what a recount says."""
    with registry.catalog.snapshot() as queries:
        on = queries.connection
        assert _blobs(on) == {
            (blob, files, owner)
            for blob, files, owner in on.execute(
                "SELECT blob.id, blob.files, producer_usage.producer FROM blob"
                " LEFT JOIN producer_usage ON producer_usage.id = blob.producer"
            )
        }
        assert _shares(on) == set(
            on.execute(
                "SELECT blob, producer_usage.producer, shared_blob.files FROM shared_blob"
                " JOIN producer_usage ON producer_usage.id = shared_blob.producer"
            )
        )
        assert _producers(on) == {
            row[0]: row[1:]
            for row in on.execute(
                "SELECT producer, packages, files, logical_bytes, unique_bytes, shared_bytes FROM producer_usage"
            )
        }
        assert _objects(on) == set(
            on.execute("SELECT object, kind, used, used_bytes, dead_bytes, is_condemned FROM object_usage")
        )
        assert _backends(on) == {
            row[:2]: row[2:] for row in on.execute("SELECT * FROM backend_usage WHERE objects > 0")
        }


def _who_has(on: Connection) -> dict[int, Counter[str]]:
    """For each blob that files have, in how many of each producer's."""
    found: defaultdict[int, Counter[str]] = defaultdict(Counter)
    sql = "SELECT blob_id, producer FROM package_file JOIN package ON package.id = package_file.package"
    for blob, producer in on.execute(sql):
        found[blob][producer] += 1
    return dict(found)


def _sizes(on: Connection) -> dict[int, int]:
    return {blob: size for blob, size in on.execute("SELECT id, size_bytes FROM blob")}  # noqa: C416 - rows


def _blobs(on: Connection) -> set[tuple[int, int, str | None]]:
    who = _who_has(on)
    return {
        (blob, sum(has.values()), next(iter(has)) if len(has) == 1 else None)
        for blob in _sizes(on)
        for has in [who.get(blob, Counter())]
    }


def _shares(on: Connection) -> set[tuple[int, str, int]]:
    return {
        (blob, producer, files) for blob, has in _who_has(on).items() if len(has) > 1 for producer, files in has.items()
    }


def _producers(on: Connection) -> dict[str, tuple[int, ...]]:
    counted: dict[str, list[int]] = {}
    for producer, status, files, total in on.execute("SELECT producer, status, file_count, total_bytes FROM package"):
        row = counted.setdefault(producer, [0, 0, 0, 0, 0])
        if status != "deleted":
            row[:3] = row[0] + 1, row[1] + files, row[2] + total
    sizes = _sizes(on)
    for blob, has in _who_has(on).items():
        for producer in has:
            counted[producer][3 if len(has) == 1 else 4] += sizes[blob]
    return {producer: tuple(row) for producer, row in counted.items()}


def _objects(on: Connection) -> set[tuple[int, str, int, int, int, int]]:
    sizes, who = _sizes(on), _who_has(on)
    located: defaultdict[int, list[int]] = defaultdict(list)
    for row_id, blob in on.execute("SELECT object_id, blob_id FROM blob_location"):
        if blob in who:
            located[row_id].append(sizes[blob])
    packages = Counter(
        digest for (digest,) in on.execute("SELECT manifest_digest FROM package WHERE status <> 'deleted'")
    )
    found = set()
    for row_id, kind, digest, size, status in on.execute(
        "SELECT id, kind, blake3, size_bytes, status FROM stored_object"
    ):
        kept = [size] * packages[digest] if kind == "manifest" else located[row_id]
        condemned = status == "condemned"
        dead = 0 if condemned else _dead(kind, size, kept)
        found.add((row_id, kind, len(kept), sum(kept), dead, int(condemned)))
    return found


def _dead(kind: str, size: int, kept: list[int]) -> int:
    if kind == "segment":
        return 0
    if not kept:
        return size
    return max(size - archive_size(ZipEntry("0" * 64, each, 0) for each in kept), 0) if kind == "pack" else 0


def _backends(on: Connection) -> dict[tuple[str, str], tuple[int, ...]]:
    counted: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0] * 7)
    usage = {row_id: (used, dead, condemned) for row_id, _, used, _, dead, condemned in _objects(on)}
    for row_id, backend, kind, size in on.execute("SELECT id, backend, kind, size_bytes FROM stored_object"):
        used, dead, condemned = usage[row_id]
        is_dead = bool(dead) and not used
        more = (1, size, is_dead, dead * is_dead, dead * (not is_dead), condemned, size * condemned)
        counted[backend, kind] = [a + b for a, b in zip(counted[backend, kind], more, strict=True)]
    return {key: tuple(row) for key, row in counted.items()}
