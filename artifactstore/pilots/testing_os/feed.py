"""A feed: submissions one after the other. Those that are new are recorded by the batch, all answered in their order.

A batch is one transaction. It is as small as it must be for memory and for who waits for an answer; a second submission
under an external id waits until the first is recorded.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from artifactstore.errors import ArtifactStoreError
from artifactstore.pilots.testing_os.ingesting import (
    Outcome,
    Unanswered,
    answer_or_judge,
    external_id_of,
    record_all_judged,
)
from artifactstore.pilots.testing_os.stage_log import stage_log
from artifactstore.pilots.testing_os.submission import parse_submission

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.pilots.testing_os.rules import Rules
    from artifactstore.pilots.testing_os.stage_log import StageLog
    from artifactstore.pilots.testing_os.submission import Received
    from artifactstore.plugins.contributed import Contributed, RecordingContext

_MOST = 100
_MOST_BYTES = 8 * 1024 * 1024
LONGEST_S = 1.0
"""How old the first may be."""


class Submitted(NamedTuple):
    """A submission that is still to be read: where it comes from, and how its bytes are got."""

    where: str
    read: Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class Failed:
    """A submission of which nothing was recorded, and why."""

    where: str
    run_id: JsonValue
    error: ArtifactStoreError


def ingest_each(
    context: RecordingContext, submitted: Iterable[Submitted | None], rules: Rules, write_log: Callable[[str], object]
) -> Iterator[Outcome | Failed]:
    """Each submission's answer, in their order. One submission's fault is its own.

    None says that nothing has come for a moment: what waits is recorded then.
    """
    contributed = context.contributed()
    batch = _Batch()
    for each in submitted:
        if each is None:
            yield from _answers(contributed, batch, rules)
            batch = _Batch()
            continue
        read = _read(each, rules, write_log)
        if batch.has(read.external_id):
            yield from _answers(contributed, batch, rules)
            batch = _Batch()
        batch.add(read, _answer_or_judge(contributed, read, rules))
        if batch.is_full:
            yield from _answers(contributed, batch, rules)
            batch = _Batch()
    yield from _answers(contributed, batch, rules)


class _Read(NamedTuple):
    """A submission as it was received, or why there is none."""

    where: str
    received: Received | ArtifactStoreError
    log: StageLog
    external_id: str | None = None
    """What makes it the same as another; None if that cannot be told."""

    def failed(self, error: ArtifactStoreError) -> Failed:
        """Nothing is recorded of it."""
        self.log("error", failed_stage="ingest", code=error.code, message=error.message)
        value = None if isinstance(self.received, ArtifactStoreError) else self.received.value
        return Failed(self.where, value.get("run_id") if isinstance(value, dict) else None, error)


@dataclass(slots=True)
class _Batch:
    """Submissions in their order: answered ones, and those that are judged and wait to be recorded."""

    _members: list[tuple[_Read, Outcome | Failed | Unanswered]] = field(default_factory=list)
    _external_ids: set[str] = field(default_factory=set)
    _bytes: int = 0
    _began: float = field(default_factory=time.monotonic)

    def add(self, read: _Read, found: Outcome | Failed | Unanswered) -> None:
        self._members.append((read, found))
        if isinstance(found, Unanswered):
            self._external_ids.add(found.filed.external_id)
            self._bytes += len(found.judged.received.data)

    def has(self, external_id: str | None) -> bool:
        """Whether one of this external id waits."""
        return external_id in self._external_ids

    @property
    def is_full(self) -> bool:
        """Whether it is time to record."""
        is_late = time.monotonic() - self._began > LONGEST_S
        return len(self._members) >= _MOST or self._bytes >= _MOST_BYTES or is_late

    @property
    def waiting(self) -> list[Unanswered]:
        return [found for _, found in self._members if isinstance(found, Unanswered)]

    def answered_by(self, answers: Iterator[Outcome | ArtifactStoreError]) -> Iterator[Outcome | Failed]:
        """All of it; ``answers`` are those for ``waiting``."""
        for read, found in self._members:
            answer = next(answers) if isinstance(found, Unanswered) else found
            if isinstance(answer, ArtifactStoreError):
                yield read.failed(answer)
            else:
                yield replace(answer, verification=None) if isinstance(answer, Outcome) else answer


def _read(submitted: Submitted, rules: Rules, write_log: Callable[[str], object]) -> _Read:
    try:
        received = parse_submission(submitted.read(), last_key_wins=rules.profile.last_key_wins)
    except ArtifactStoreError as error:
        return _Read(submitted.where, error, stage_log(None, write_log))
    read = _Read(submitted.where, received, stage_log(received.value, write_log))
    try:
        return read._replace(external_id=external_id_of(received.value, rules.profile))
    except ArtifactStoreError:
        return read  # it is said once it is judged


def _answer_or_judge(contributed: Contributed, read: _Read, rules: Rules) -> Outcome | Failed | Unanswered:
    if isinstance(read.received, ArtifactStoreError):
        return read.failed(read.received)
    try:
        return answer_or_judge(contributed, read.received, rules, read.log)
    except ArtifactStoreError as error:
        return read.failed(error)


def _answers(contributed: Contributed, batch: _Batch, rules: Rules) -> Iterator[Outcome | Failed]:
    return batch.answered_by(iter(record_all_judged(contributed, batch.waiting, rules)))
