"""A tree of the original's, recorded: every record that is valid and in its place becomes one package.

A run may have two, one rejected and one accepted, and both are recorded, whichever comes first and whatever would give
way to what if they were submitted: a tree says what was judged, and judging it is not repeated. The accepted one
counts. What is there already is left as it is, so an import that was killed is made again, and the order of trees does
not matter. Rejections are read first, so that of a tree's two records the accepted one is the later revision.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from artifactstore.domain.instant import system_clock
from artifactstore.pilots.testing_os import records
from artifactstore.pilots.testing_os.filing import UnsafePlaceError, place_of_1_1
from artifactstore.pilots.testing_os.formats import instant_ms
from artifactstore.pilots.testing_os.package import FROM_TREE, IMPORTED, RECORD_FILE, Filed
from artifactstore.pilots.testing_os.reasons import awaited_major, may_be_replaced
from artifactstore.pilots.testing_os.recording import LOST_RACES, Unrecorded, record_filed, record_together
from artifactstore.pilots.testing_os.schemas import RECORD_IN_TREE, violations
from artifactstore.pilots.testing_os.tree_reading import (
    Corruption,
    Skipped,
    TreeRecord,
    read_accepted,
    read_rejected,
)
from artifactstore.pilots.testing_os.verdict import is_raised
from artifactstore.pilots.testing_os.verifier import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from artifactstore.domain.instant import Instant
    from artifactstore.pilots.testing_os.records import StoredRecord
    from artifactstore.plugins import RetentionClass
    from artifactstore.plugins.contributed import Contributed

_ATTEMPTS = 4
_MOST = 100
_MOST_BYTES = 8 * 1024 * 1024
"""What one transaction records at most."""


class LeftOut(NamedTuple):
    """A file that was not recorded, and why."""

    path: str
    why: str


@dataclass(slots=True)
class Imported:
    """What came of a tree."""

    recorded: list[str] = field(default_factory=list)
    present: int = 0
    left_out: list[LeftOut] = field(default_factory=list)


def import_tree(contributed: Contributed, root: Path, retention_class: RetentionClass) -> Imported:
    """Record what a tree has. Raises ``FileUnreadableError`` if there is none, and what an ingest raises."""
    done = Imported()
    for batch in _batches(chain(read_rejected(root), read_accepted(root)), done):
        try:
            _record_together(contributed, batch, retention_class, done)
        except LOST_RACES:
            for filed in batch:
                _record(contributed, filed, retention_class, done)
    return done


def _batches(all_found: Iterable[TreeRecord | Corruption | Skipped], done: Imported) -> Iterator[list[Filed]]:
    """Records to be recorded at once, each of another run; what is none is left out."""
    batch: dict[str, Filed] = {}
    size = 0
    for found in all_found:
        if isinstance(filed := _filed(found), LeftOut):
            done.left_out.append(filed)
            continue
        if filed.external_id in batch or len(batch) == _MOST or size >= _MOST_BYTES:
            yield [*batch.values()]
            batch, size = {}, 0
        batch[filed.external_id] = filed
        size += len(filed.files[RECORD_FILE][0])
    yield [*batch.values()]


def _filed(found: TreeRecord | Corruption | Skipped) -> Filed | LeftOut:
    """The record, if it is valid and lies where its repository, day, run id and status say."""
    if not isinstance(found, TreeRecord):
        return LeftOut(found.path, found.error if isinstance(found, Corruption) else found.reason)
    if broken := violations(RECORD_IN_TREE, found.value):
        return LeftOut(found.path, f"is no record: {broken[0]}")
    record = cast("dict[str, Any]", found.value)
    verdict = record["overall_verdict"]
    if what := _given_by_no_verifier(record):
        return LeftOut(found.path, what)
    try:
        place = place_of_1_1(record)
    except UnsafePlaceError as error:
        return LeftOut(found.path, str(error))
    status, reasons = record["verification"]["status"], record["verification"].get("rejection_reasons", [])
    if (expected := place.path(rejected=status == Status.REJECTED)) != found.path:
        return LeftOut(found.path, f"belongs to {expected}")
    return Filed(
        record=record,
        files={RECORD_FILE: (found.data, "record")},
        external_id=place.external_id,
        path=found.path,
        profile=IMPORTED,
        status=status,
        verified=verdict["verified"],
        may_be_replaced=status == Status.REJECTED and may_be_replaced(reasons),
        contract_major=awaited_major(reasons) if status == Status.REJECTED else None,
        recorded_at=_judged_at(record["verification"].get("verified_at")),
        reasons=len(reasons),
        warnings=len(record["verification"].get("warnings", [])),
        transport=FROM_TREE,
    )


def _given_by_no_verifier(record: Mapping[str, Any]) -> str | None:
    """What is wrong with a verdict in itself."""
    verdict, verification = record["overall_verdict"], record["verification"]
    if is_raised(verdict["proposed"], verdict["verified"]):
        return "its verdict is better than the one that was proposed, which no verifier gives"
    if any(is_raised(result["verdict"], verdict["verified"]) for result in record["scenario_results"]):
        return "its verdict is better than that of a scenario, which no verifier gives"
    if verification["status"] == Status.ACCEPTED and verification.get("rejection_reasons"):
        return "it is accepted and says why it was rejected"
    return None


def _judged_at(text: str | None) -> Instant:
    milliseconds = instant_ms(text) if text is not None else None
    return system_clock() if milliseconds is None or milliseconds < 0 else cast("Instant", milliseconds * 1000)


def _record_together(
    contributed: Contributed, batch: list[Filed], retention_class: RetentionClass, done: Imported
) -> None:
    """One record for each file. Raises one of ``LOST_RACES`` if another writer comes between; nothing is done then."""
    with contributed.look() as connection:
        known = {filed.path: records.of_external_id(connection, filed.external_id) for filed in batch}
    same = {path: found for path, all_of_run in known.items() if (found := _under(path, all_of_run))}
    new = [filed for filed in batch if filed.path not in same]
    if new:
        record_together(contributed, [_unrecorded(filed, known[filed.path], retention_class) for filed in new])
    done.recorded += [filed.path for filed in new]
    for filed in batch:
        if filed.path in same:
            _compare(contributed, filed, same[filed.path], done)


def _record(contributed: Contributed, filed: Filed, retention_class: RetentionClass, done: Imported) -> None:
    """The same for one. Tried again as often as somebody else records the same run meanwhile."""
    for attempt in range(1, _ATTEMPTS + 1):
        known = _known(contributed, filed.external_id)
        if same := _under(filed.path, known):
            return _compare(contributed, filed, same, done)
        try:
            record_filed(contributed, _unrecorded(filed, known, retention_class))
        except LOST_RACES as error:
            if attempt == _ATTEMPTS or _known(contributed, filed.external_id) == known:
                done.left_out.append(LeftOut(filed.path, error.message))
                return None
        else:
            done.recorded.append(filed.path)
            return None
    raise AssertionError("the last attempt returns")


def _under(path: str, known: list[StoredRecord]) -> StoredRecord | None:
    return next((each for each in known if each.path == path), None)


def _unrecorded(filed: Filed, known: list[StoredRecord], retention_class: RetentionClass) -> Unrecorded:
    return Unrecorded(filed, known[0] if known else None, retention_class)


def _compare(contributed: Contributed, filed: Filed, known: StoredRecord, done: Imported) -> None:
    if contributed.read_file(known.package_id, RECORD_FILE) == filed.files[RECORD_FILE][0]:
        done.present += 1
    else:
        done.left_out.append(LeftOut(filed.path, f"package {known.package_id} is another record of this run"))


def _known(contributed: Contributed, external_id: str) -> list[StoredRecord]:
    """Its records, the last one first."""
    with contributed.look() as connection:
        return records.of_external_id(connection, external_id)
