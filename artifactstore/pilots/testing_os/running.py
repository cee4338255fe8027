"""``run``: submissions in, packages recorded, and the tree of a repository brought to what is recorded.

::

    with closing(open_registry(settings)) as registry:
        context = EmbeddedContext(host_of(registry, settings), load_plugin("testing-os"))
        result = run(context, Path("incoming.json"), Path("."), "github")

One submission's fault is its own: the others are judged all the same.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from artifactstore.errors import ArtifactStoreError
from artifactstore.pilots.testing_os import records
from artifactstore.pilots.testing_os.exporting import Exported, check_tree, export
from artifactstore.pilots.testing_os.feed import Failed, ingest_each
from artifactstore.pilots.testing_os.ingesting import Answer, Outcome
from artifactstore.pilots.testing_os.payloads import submitted_of
from artifactstore.pilots.testing_os.policy_sources import policies_of
from artifactstore.pilots.testing_os.rules import Rules, rules_of
from artifactstore.pilots.testing_os.stage_log import stage_log

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.domain.instant import Instant
    from artifactstore.pilots.testing_os.provenance import ProvenanceCheck
    from artifactstore.pilots.testing_os.tree_reading import Indexed
    from artifactstore.plugins.contributed import RecordingContext

    Payload = Path | bytes | dict[str, JsonValue] | Sequence[Path | bytes | dict[str, JsonValue]]


@dataclass(frozen=True, slots=True)
class RunResult:
    """The answer: every submission's, in their order, and what was done to the tree."""

    outcomes: tuple[Outcome | Failed, ...]
    exported: Exported

    @property
    def persisted_records(self) -> list[str]:
        """The files of the records that are recorded now and were not before, below the root."""
        return [each.path for each in self.outcomes if isinstance(each, Outcome) and each.path is not None]

    @property
    def indexes_rebuilt(self) -> bool:
        """Whether the tree's indexes were changed."""
        return self.exported.indexes_changed

    @property
    def records_differing(self) -> list[str]:
        """Files that are named as records of these submissions and hold something else, which they keep."""
        return self.exported.differing

    @property
    def export_error(self) -> ArtifactStoreError | None:
        """Why the tree could not be written, if it could not."""
        return self.exported.error

    @property
    def rejected(self) -> list[dict[str, JsonValue]]:
        """Every submission that was rejected, and why."""
        return [
            {"run_id": each.run_id, "path": each.path, "reasons": [*each.rejection_reasons]}
            for each in self.outcomes
            if isinstance(each, Outcome) and each.answer is Answer.REJECTED
        ]

    @property
    def errors(self) -> list[Failed]:
        """Every submission of which nothing could be recorded."""
        return [each for each in self.outcomes if isinstance(each, Failed)]


def run(
    context: RecordingContext,
    payload: Payload,
    repo_root: Path,
    provenance: str | ProvenanceCheck = "github",
    *,
    policies: Path | str | None = None,
    profile: str = "default",
    scenarios: Path | None = None,
    as_of: Instant | None = None,
    write_log: Callable[[str], object] = lambda _: None,
) -> RunResult:
    """Judge and record submissions, and write what is new, with the indexes, to the tree at ``repo_root``.

    ``payload``: a file, a directory of files, a file of lines, bytes, a value, or several of these. ``policies``: a
    directory, or ``"store"`` for what is adopted; where nothing is said, ``policies`` below the root, else what is
    adopted. Raises ``UsageError`` and ``ConfigurationError`` for what keeps all of them from being judged, and what
    ``check_tree`` raises. A tree that cannot be written is told in the answer: what is recorded stays.
    """
    indexed = check_tree(context.contributed(), repo_root)
    source = policies_of(context.contributed(), repo_root, policies)
    rules = rules_of(context, repo_root, provenance, policies=source, profile=profile, scenarios=scenarios, as_of=as_of)
    outcomes = tuple(ingest_each(context, submitted_of(payload), rules, write_log))
    return RunResult(outcomes, exported_after(context, outcomes, repo_root, rules, write_log, indexed))


def exported_after(
    context: RecordingContext,
    outcomes: Sequence[Outcome | Failed],
    repo_root: Path,
    rules: Rules,
    write_log: Callable[[str], object],
    indexed: Indexed | None = None,
) -> Exported:
    """The tree brought to what these submissions have recorded, duplicates too: whoever recorded them may be dead.

    Where nothing is recorded of any of them, nothing is done. A tree that cannot be written is told in what is
    answered. Logged as the submission's if there is one, else under an id of its own.
    """
    names = [each.package_id for each in outcomes if isinstance(each, Outcome) and each.package_id is not None]
    if not names:
        return Exported()
    began = time.monotonic()
    as_of = rules.clock() if rules.as_of is None else rules.as_of
    contributed = context.contributed()
    log = stage_log({"run_id": outcomes[0].run_id} if len(outcomes) == 1 else None, write_log)
    try:
        exported = export(contributed, repo_root, as_of=as_of, package_ids=dict.fromkeys(names), known=indexed)
    except ArtifactStoreError as error:
        log("error", failed_stage="rebuild_indexes", code=error.code, message=error.message)
        return Exported(error=error)
    with contributed.look() as connection:
        counts = records.counts(connection)
    for path in exported.differing:
        log("warn", kind="record_differs", path=path)
    for path, package_id, why in exported.corrupted:
        log("warn", kind="record_skipped", reason="corrupted", path=path, package_id=package_id, message=why)
    duration_ms = round((time.monotonic() - began) * 1000)
    log(
        "rebuild_indexes_complete",
        duration_ms=duration_ms,
        changed=exported.indexes_changed,
        accepted=counts.accepted,
        rejected=counts.rejected,
        corrupted_count=len(exported.corrupted),
    )
    return exported
