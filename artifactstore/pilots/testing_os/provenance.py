"""Where a submission says it came from, and whether that is so.

``ProvenanceCheck`` is what an adapter implements: it looks a run up and says whether it is there and what commit it
ran on. It raises ``ProvenanceFaultError`` if that cannot be found out, which is no answer: nothing is recorded then.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from artifactstore.pilots.testing_os.ecmascript import as_text
from artifactstore.pilots.testing_os.reasons import UNCONFIRMED, Reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.pilots.testing_os.submission import Ref, Source, Submission

_SHOWN = 500
"""Characters that are told of a name that may be any text."""
_GITHUB_RUN = re.compile(r"https://github\.com/([^/]+)/([^/]+)/actions/runs/[0-9]+")


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What looking a run up has shown."""

    confirmed: bool
    """The run exists, is the one that is named, and is over."""
    head_sha: str | None = None
    """The commit it ran on, if the provider says."""


class ProvenanceCheck(Protocol):
    """Looks a source run up."""

    def __call__(self, source: Source, ref: Ref, /) -> Confirmation:
        """Whether the run is there. Raises ``ProvenanceFaultError``, retryable or not, if that cannot be told."""


def stub_provenance(_source: Source, _ref: Ref, /) -> Confirmation:
    """Takes every run's word. For tests and trials: what it confirms is confirmed by nobody."""
    return Confirmation(confirmed=True)


def rejecting_provenance(_source: Source, _ref: Ref, /) -> Confirmation:
    """Confirms no run."""
    return Confirmation(confirmed=False)


def repo_binding(document: Mapping[str, JsonValue]) -> Iterator[Reason]:
    """A run of GitHub Actions speaks for its own repository alone. Another URL binds nothing."""
    source, repo = document.get("source"), document.get("repo")
    run_url = source.get("run_url") if isinstance(source, dict) else None
    found = _GITHUB_RUN.fullmatch(run_url) if isinstance(run_url, str) else None
    if found is None or repo == f"{found[1]}/{found[2]}":
        return
    claimed, bound_to = as_text(repo)[:_SHOWN], f"{found[1]}/{found[2]}"[:_SHOWN]
    text = f"repo:mismatch: submission.repo ({claimed}) does not match source.run_url repo ({bound_to})"
    yield Reason("REPO_MISMATCH", "/repo", text)


def unconfirmed(confirmation: Confirmation) -> Iterator[Reason]:
    """A run that was not found, or is not what it is said to be."""
    if not confirmation.confirmed:
        yield Reason("PROVENANCE_UNCONFIRMED", "/source", UNCONFIRMED)


def of_another_commit(submission: Submission, confirmation: Confirmation) -> Iterator[Reason]:
    """A real run attests the commit it ran on and no other."""
    claimed, ran_on = submission.ref.commit_sha, confirmation.head_sha
    if confirmation.confirmed and ran_on is not None and ran_on != claimed:
        text = f"{UNCONFIRMED}: it ran on {ran_on}, not on ref.commit_sha {claimed}"
        yield Reason("PROVENANCE_OTHER_COMMIT", "/ref/commit_sha", text)
