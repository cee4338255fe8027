"""A tree of the original's, recorded: every record that is valid and in its place becomes one package.

What is there already is left as it is, so an import that was killed is made again. Rejections are read first: where an
accepted record has taken one's place, it becomes the next revision here, too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from artifactstore.domain.instant import system_clock
from artifactstore.pilots.testing_os import records
from artifactstore.pilots.testing_os.filing import UnsafePlaceError, place_of_1_1
from artifactstore.pilots.testing_os.formats import instant_ms
from artifactstore.pilots.testing_os.package import FROM_TREE, IMPORTED, RECORD_FILE, Filed
from artifactstore.pilots.testing_os.reasons import may_be_replaced
from artifactstore.pilots.testing_os.recording import LOST_RACES, record_filed
from artifactstore.pilots.testing_os.schemas import RECORD_SCHEMA, violations
from artifactstore.pilots.testing_os.tree_reading import Corruption, Skipped, TreeRecord, read_tree
from artifactstore.pilots.testing_os.verifier import Status

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from artifactstore.domain.instant import Instant
    from artifactstore.pilots.testing_os.records import StoredRecord
    from artifactstore.plugins import RetentionClass
    from artifactstore.plugins.contributed import Contributed

_REJECTED = "records/_rejected/"


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
    for rejected in (True, False):
        for found in _found(root, rejected=rejected):
            if not isinstance(found, TreeRecord):
                done.left_out.append(
                    LeftOut(found.path, found.error if isinstance(found, Corruption) else found.reason)
                )
            elif isinstance(filed := _filed(found), LeftOut):
                done.left_out.append(filed)
            else:
                _record(contributed, filed, retention_class, done)
    return done


def _found(root: Path, *, rejected: bool) -> Iterator[TreeRecord | Corruption | Skipped]:
    return (found for found in read_tree(root) if found.path.startswith(_REJECTED) == rejected)


def _filed(found: TreeRecord) -> Filed | LeftOut:
    """The record, if it is valid and lies where its repository, day, run id and status say."""
    if broken := violations(RECORD_SCHEMA, found.value):
        return LeftOut(found.path, f"is no record: {broken[0]}")
    record = cast("dict[str, Any]", found.value)
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
        verified=record["overall_verdict"]["verified"],
        may_be_replaced=status == Status.REJECTED and may_be_replaced(reasons),
        recorded_at=_judged_at(record["verification"].get("verified_at")),
        reasons=len(reasons),
        warnings=len(record["verification"].get("warnings", [])),
        transport=FROM_TREE,
    )


def _judged_at(text: str | None) -> Instant:
    milliseconds = instant_ms(text) if text is not None else None
    return system_clock() if milliseconds is None or milliseconds < 0 else cast("Instant", milliseconds * 1000)


def _record(contributed: Contributed, filed: Filed, retention_class: RetentionClass, done: Imported) -> None:
    known = _known(contributed, filed.external_id)
    same = next((each for each in known if each.path == filed.path), None)
    if same is not None:
        is_equal = contributed.read_file(same.package_id, RECORD_FILE) == filed.files[RECORD_FILE][0]
        done.present += is_equal
        if not is_equal:
            done.left_out.append(LeftOut(filed.path, f"package {same.package_id} is another record of this run"))
        return
    newest = known[0] if known else None
    if newest is not None and not (newest.may_be_replaced and filed.status == Status.ACCEPTED):
        done.left_out.append(LeftOut(filed.path, f"package {newest.package_id} is the record of this run"))
        return
    try:
        record_filed(contributed, filed, newest, retention_class)
    except LOST_RACES as error:
        done.left_out.append(LeftOut(filed.path, error.message))
    else:
        done.recorded.append(filed.path)


def _known(contributed: Contributed, external_id: str) -> list[StoredRecord]:
    with contributed.look() as connection:
        return records.of_external_id(connection, external_id)
