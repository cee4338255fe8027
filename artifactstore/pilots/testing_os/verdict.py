"""The verdict: what the submitter proposed, confirmed or lowered, and never raised.

``pass`` is better than ``partial``, that than ``blocked``, that than ``fail``. The floor is the worst verdict of any
scenario; what cannot be read counts as ``fail``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from artifactstore.pilots.testing_os.ecmascript import as_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from artifactstore.domain.canonical import JsonValue

FAIL = "fail"
PASS = "pass"  # noqa: S105
_RANK = {FAIL: 0, "blocked": 1, "partial": 2, PASS: 3}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was proposed, whatever it was, and what holds."""

    proposed: JsonValue
    verified: str
    downgraded: bool
    reasons: tuple[str, ...]


def decide(
    proposed: JsonValue,
    scenario_verdicts: Iterable[JsonValue],
    *,
    evidence_valid: bool,
    policy_valid: bool,
    forced_to_fail: bool,
) -> Verdict:
    """The worse of what was proposed and what the evidence allows.

    ``evidence_valid``: schema and provenance are. ``forced_to_fail``: there is a reason to reject, and the profile lets
    nothing that is rejected pass.
    """
    if not evidence_valid:
        told = ("schema or provenance validation failed",) if proposed is not None and proposed != FAIL else ()
        return _verdict(proposed, FAIL, told)
    reasons: list[str] = []
    floor = _worst(_known(verdict, "scenario verdict", reasons) for verdict in scenario_verdicts)
    if not policy_valid:
        floor = FAIL
        reasons.append("policy validation failed")
    if forced_to_fail:
        floor = FAIL
        reasons.append("non-empty rejection reasons force fail")
    if proposed is None:
        claim = FAIL
        reasons.append("verdict: no proposed verdict provided, defaulting to fail")
    else:
        claim = _known(proposed, "proposed verdict", reasons)
    if _RANK[floor] < _RANK[claim]:
        reasons.append(f'scenario/policy evidence requires "{floor}" but source proposed "{as_text(proposed)}"')
    return _verdict(proposed, _worst((floor, claim)), tuple(reasons))


def without_definitions(verdict: Verdict) -> Verdict:
    """What is left of a verdict when the definitions of its scenarios could not be loaded: a pass is none."""
    if verdict.verified != PASS:
        return verdict
    reasons = (*verdict.reasons, "scenario definitions could not be loaded")
    return replace(verdict, verified=FAIL, downgraded=True, reasons=reasons)


def is_raised(proposed: JsonValue, verified: JsonValue) -> bool:
    """Whether a record claims what no verifier gives: a verdict that is better than the proposed one."""
    return _RANK.get(str(verified), 0) > _RANK.get(str(proposed), 0)


def _known(verdict: JsonValue, what: str, reasons: list[str]) -> str:
    if isinstance(verdict, str) and verdict in _RANK:
        return verdict
    reasons.append(f'verdict: unrecognized {what} "{as_text(verdict)}", treating as fail')
    return FAIL


def _worst(verdicts: Iterable[str] | Iterator[str]) -> str:
    return min(verdicts, key=_RANK.__getitem__, default=PASS)


def _verdict(proposed: JsonValue, verified: str, reasons: tuple[str, ...]) -> Verdict:
    was = _RANK.get(proposed) if isinstance(proposed, str) else None
    return Verdict(proposed, verified, was is not None and _RANK[verified] < was, reasons)
