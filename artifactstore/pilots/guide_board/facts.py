"""What is said of a run, read tolerantly: each value from the first of its accepted places (``layout``) that has it."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeGuard, TypeVar

from artifactstore.domain.package import text_problem
from artifactstore.errors import Problem
from artifactstore.pilots.guide_board import layout
from artifactstore.pilots.guide_board.documents import as_list, as_text, first_text, member
from artifactstore.pilots.guide_board.refusal import refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.pilots.guide_board.documents import Documents

UNKNOWN = "unknown"
"""What an item counts as that has no result, severity or status."""

Value = TypeVar("Value")
_COMMIT = re.compile(r"[0-9a-f]{7,64}")


@dataclass(frozen=True, slots=True)
class RunFacts:
    """The metadata of a run that is read from its documents."""

    run_id: str
    target_profile_ref: str
    assessment_profile_ref: str
    result_status: str
    source_commits: Mapping[str, str]
    evidence_counts: Mapping[str, int]
    finding_counts: Mapping[str, int]
    retention_policy: Mapping[str, int] | None
    """The run profile's own day counts, for readers; they decide nothing here."""


def read_facts(documents: Documents) -> RunFacts:
    """Raises ``RunDirectoryError`` naming values that are nowhere, names that cannot be recorded, or another run."""
    reader = _Reader(documents)
    facts = RunFacts(
        run_id=reader.text("run_id", layout.RUN_ID),
        target_profile_ref=reader.text("target_profile_ref", layout.TARGET_PROFILE_REF),
        assessment_profile_ref=reader.text("assessment_profile_ref", layout.ASSESSMENT_PROFILE_REF),
        result_status=reader.text("result_status", layout.RESULT_STATUS),
        source_commits=reader.required("source_commits", layout.SOURCE_COMMITS, _commits) or {},
        evidence_counts=reader.counts(
            "evidence_counts", layout.EVIDENCE_COUNTS, layout.EVIDENCE_ITEMS, layout.RESULT_POINTERS
        ),
        finding_counts=reader.counts(
            "finding_counts", layout.FINDING_COUNTS, layout.FINDING_ITEMS, layout.SEVERITY_POINTERS
        ),
        retention_policy=documents.first(layout.RETENTION_POLICY, _counts),
    )
    reader.raise_missing()
    _check_names(facts)
    _check_one_run(documents, facts.run_id)
    return facts


class _Reader:
    """Looks values up and remembers those that are nowhere, so that all are named at once."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._missing: list[Problem] = []

    def text(self, name: str, places: Sequence[str]) -> str:
        return self.required(name, places, as_text) or ""

    def counts(
        self, name: str, places: Sequence[str], items: Sequence[str], counted_by: Sequence[str]
    ) -> Mapping[str, int]:
        """The counts as they are written down, or else as the normalised items give them."""
        written = self._documents.first(places, _counts)
        if written is not None:
            return written
        found = self._documents.first(items, as_list)
        if found is None:
            self._missed(name, (*places, *items))
        return Counter(first_text(item, counted_by) or UNKNOWN for item in found or [])

    def required(self, name: str, places: Sequence[str], accept: Callable[[JsonValue], Value | None]) -> Value | None:
        found = self._documents.first(places, accept)
        if found is None:
            self._missed(name, places)
        return found

    def raise_missing(self) -> None:
        if self._missing:
            raise refusal(
                self._missing,
                hint="Let guide-board write what is missing: docs/pilots/guide-board.md has the places of each value.",
            )

    def _missed(self, name: str, places: Sequence[str]) -> None:
        self._missing.append(Problem(name, f"is missing: nothing of its kind is in {', '.join(places)}"))


def _counts(value: JsonValue) -> dict[str, int] | None:
    if not isinstance(value, dict):
        return None
    counts = {key: count for key, count in value.items() if type(count) is int and count >= 0}
    return counts if len(counts) == len(value) else None


def _commits(value: JsonValue) -> dict[str, str] | None:
    """Slug to commit, from a map of commits or from entries that have one; entries without one do not count."""
    if isinstance(value, dict) and (plain := {slug: text for slug, text in value.items() if _is_commit(text)}) == value:
        return plain
    entries = _slugs_and_entries(value)
    return {slug: commit for slug, entry in entries if (commit := first_text(entry, layout.COMMIT_POINTERS))} or None


def _is_commit(value: JsonValue) -> TypeGuard[str]:
    return isinstance(value, str) and _COMMIT.fullmatch(value) is not None


def _slugs_and_entries(value: JsonValue) -> list[tuple[str, JsonValue]]:
    if isinstance(value, dict):
        return [(slug, entry) for slug, entry in value.items() if isinstance(entry, dict)]
    entries = as_list(value) or []
    return [(slug, entry) for entry in entries if (slug := first_text(entry, layout.SLUG_POINTERS))]


def _check_names(facts: RunFacts) -> None:
    """What a package and a source are found by, and what stands in the observation."""
    names = {
        "run_id": facts.run_id,
        "target_profile_ref": facts.target_profile_ref,
        "assessment_profile_ref": facts.assessment_profile_ref,
        "result_status": facts.result_status,
    }
    if problems := [Problem(name, what) for name, text in names.items() if (what := text_problem(text))]:
        raise refusal(problems, hint="Let guide-board write the run again, under a name that can be recorded.")


def _check_one_run(documents: Documents, run_id: str) -> None:
    """The other documents may leave the run id out, but not name another run."""
    others = {path: as_text(member(documents.value(path), "/run_id")) for path in layout.NAMING_THE_RUN}
    problems = [
        Problem(path, f"is of run {other!r}, and {layout.RUN} of run {run_id!r}")
        for path, other in others.items()
        if other not in {None, run_id}
    ]
    if problems:
        raise refusal(problems, hint="The directory mixes the files of two runs; ingest each from its own.")
