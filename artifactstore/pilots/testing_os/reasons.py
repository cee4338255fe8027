"""Why a submission is rejected, as values: a stable code, where, and the text that is persisted.

The text is the contract with those who read records: it begins with a prefix that names its class, and the class alone
says whether a later submission under the same run id may take the rejection's place. So the class is read from the
text, here and in records that other software wrote.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

UNREADABLE_POLICY = "policy: repo policy unreadable"
UNCONFIRMED = "provenance: source run could not be confirmed"
_CLASSES = (
    (UNREADABLE_POLICY, "operational", True),
    (f"{UNCONFIRMED}:", "submission-bad", False),
    (UNCONFIRMED, "submission-bad", True),
    ("provenance: verification failed:", "operational", True),
    ("schema:", "submission-bad", True),
    ("repo:", "submission-bad", True),
    ("policy-config:", "submission-bad", True),
    ("policy:", "submission-bad", False),
    ("provenance:", "submission-bad", False),
    ("submission-contains-verifier-field:", "submission-bad", True),
    ("unsafe-record-path:", "submission-bad", True),
    ("CONTRACT_SCHEMA_TOO_OLD:", "submission-bad", True),
    ("CONTRACT_SCHEMA_TOO_NEW:", "operational", False),
    ("submission-malformed:", "operational", False),
    ("scenario-load:", "ingest", False),
)
"""Prefix, class and whether a resubmission may take its place; the first that fits.

What the submitter has not done must not use the run id up: a repository's policy that cannot be read, a run that the
provider does not know yet or that is not over yet, and a provider that version 1.1 could not ask. Whatever comes later
must be confirmed to be accepted. A run that is known and ran on another commit stays refused.
"""
_STEPS = re.compile(r"steps\[.*?\]:", re.DOTALL)
_TOO_NEW = re.compile(r"CONTRACT_SCHEMA_TOO_NEW: recordSubmission schema v([0-9]{1,9})\.")
CONTRACT_MAJOR = 1
"""The major version of the submission contract that is understood here."""


MAX_TOLD = 200
"""Reasons that one stage tells one by one; a hostile submission could have a hundred thousand."""


class ReasonClass(NamedTuple):
    """What a persisted reason is, by its prefix."""

    name: str
    prefix: str
    detail: str
    retryable: bool


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that is wrong, or with a warning: one thing to look at."""

    code: str
    where: str
    """A JSON pointer into the submission, or ``scenario/step`` of it; "" for the whole."""
    text: str

    @property
    def is_retryable(self) -> bool:
        """Whether a rejection for this reason may give way to a submission that is accepted."""
        return classify(self.text).retryable


def told(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    """The first reasons of a stage; how many more there are is one more, of the same class as the last."""
    ahead = iter(reasons)
    first = tuple(islice(ahead, MAX_TOLD))
    more = sum(1 for _ in ahead)
    if not more:
        return first
    text = f"{classify(first[-1].text).prefix} (+{more} more collapsed; {MAX_TOLD + more} total)".lstrip()
    return (*first, Reason("MORE", "", text))


def classify(text: str) -> ReasonClass:
    """The class of a persisted reason. What is not known is not retryable: it stands for good.

    A contract that was too new becomes retryable with a build that understands it.
    """
    if steps := _STEPS.match(text):
        return ReasonClass("submission-bad", steps[0], text[steps.end() :].strip(), retryable=True)
    for prefix, name, retryable in _CLASSES:
        if text.startswith(prefix):
            return ReasonClass(name, prefix, text[len(prefix) :].strip(), retryable or is_understood(_major(text)))
    return ReasonClass("unknown", "", text, retryable=False)


def may_be_replaced(texts: list[str]) -> bool:
    """Whether a stored rejection with these reasons may give way: it has some, and each of them is retryable."""
    return bool(texts) and all(classify(text).retryable for text in texts)


def awaited_major(texts: list[str]) -> int | None:
    """The contract's major version that a build must understand for a rejection with these reasons to give way.

    None if it gives way already, and if no build will ever change that.
    """
    majors = [major for text in texts if not classify(text).retryable and (major := _major(text)) is not None]
    others = [text for text in texts if _major(text) is None]
    return max(majors) if majors and all(classify(text).retryable for text in others) else None


def is_understood(major: int | None) -> bool:
    """Whether this build understands a major version of the contract; None is none."""
    return major is not None and major <= CONTRACT_MAJOR


def _major(text: str) -> int | None:
    """The major version that was too new; None for another reason."""
    found = _TOO_NEW.match(text)
    return None if found is None else int(found[1])
