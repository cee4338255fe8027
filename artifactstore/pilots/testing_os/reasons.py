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
_CLASSES = (
    (UNREADABLE_POLICY, "operational", True),
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

A repository's policy that cannot be read is not the submitter's doing: mending it must not leave the run id used up.
"""
_STEPS = re.compile(r"steps\[.*?\]:", re.DOTALL)
_TOO_NEW = re.compile(r"CONTRACT_SCHEMA_TOO_NEW: recordSubmission schema v(\d+)\.", re.ASCII)
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
            too_new = _TOO_NEW.match(text)
            is_understood = too_new is not None and int(too_new[1]) == CONTRACT_MAJOR
            return ReasonClass(name, prefix, text[len(prefix) :].strip(), retryable or is_understood)
    return ReasonClass("unknown", "", text, retryable=False)


def may_be_replaced(texts: list[str]) -> bool:
    """Whether a stored rejection with these reasons may give way: it has some, and each of them is retryable."""
    return bool(texts) and all(classify(text).retryable for text in texts)
