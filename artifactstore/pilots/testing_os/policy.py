"""Policies as values: what a surface requires, how strictly, and the digest of what was judged by.

A surface's requirements are the global ``defaults`` with the repository's ``surfaces.<surface>`` laid over them: maps
merge, everything else replaces. A repository's own ``defaults`` and the global ``enforcement`` are read by nobody, as
in the original.

How strictly (``enforcement.mode`` of the repository's policy): ``required`` rejects, ``warn-only`` records the same
findings as warnings, ``exempt`` does not look. Without a policy it is required. The other two need a reason and a
review date and hold to the end of that day in UTC: an exception that nobody has renewed is none, so it ends in
``required``. No mode softens the global rules or any other stage.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar, cast

from artifactstore.domain.digest import Digest
from artifactstore.errors import ConfigurationError, Problem
from artifactstore.pilots.testing_os.ecmascript import is_truthy
from artifactstore.pilots.testing_os.schemas import POLICY_SCHEMA, Violation, violations

if TYPE_CHECKING:
    from collections.abc import Mapping

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.domain.instant import Instant

DEFAULT_VERSION = "1.0.0"
_TOLD = 3
_MICROSECONDS = 1_000_000
_Kind = TypeVar("_Kind")


class PolicyShapeError(Exception):
    """A policy whose schema nobody has checked, as in profile 1.1, has something of the wrong kind where it is read."""


class Mode(StrEnum):
    """What a violation of a requirement means."""

    REQUIRED = "required"
    WARN_ONLY = "warn-only"
    EXEMPT = "exempt"


@dataclass(frozen=True, slots=True)
class Enforcement:
    """The mode a repository's policy asks for, and until when."""

    mode: Mode
    reason: str = ""
    review_after: date | None = None

    def lapsed(self, as_of: Instant) -> bool:
        """Whether the review date has gone by."""
        today = datetime.fromtimestamp(as_of // _MICROSECONDS, UTC).date()
        return self.review_after is not None and today > self.review_after

    def in_force(self, as_of: Instant) -> Mode:
        """The mode that holds at this instant."""
        return Mode.REQUIRED if self.lapsed(as_of) else self.mode


@dataclass(frozen=True, slots=True)
class GlobalRule:
    """A rule for every submission, whatever its repository's policy says."""

    id: str
    severity: str
    description: str


@dataclass(frozen=True, slots=True)
class Requirements:
    """What one surface of one repository requires."""

    required_scenarios: tuple[str, ...]
    max_age_days: float | None
    warn_age_days: float | None
    allowed_modes: tuple[str, ...] | None
    coverage_min: float | None
    tests_must_pass: bool
    required_kinds: tuple[str, ...]
    min_evidence_count: float


@dataclass(frozen=True, slots=True)
class RepositoryPolicy:
    """What is in a repository's policy file, or why that could not be read."""

    document: JsonValue
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Policies:
    """What a submission is judged by: the global policy and, if there is one, its repository's."""

    global_document: Mapping[str, JsonValue]
    repository: RepositoryPolicy | None = None

    @property
    def version(self) -> JsonValue:
        """The version that records name: the repository's, else the global one's."""
        found = (_member(self._own, "policy_version"), self.global_document.get("policy_version"))
        return next((version for version in found if is_truthy(version)), DEFAULT_VERSION)

    @property
    def digest(self) -> Digest:
        """BLAKE3 of the RFC 8785 form of both documents; comments and spelling do not count.

        A repository's policy that is absent is left out, one that cannot be read is its problem's text.
        """
        import rfc8785
        from blake3 import blake3

        statement: dict[str, Any] = {"global": dict(self.global_document)}
        if self.repository is not None:
            problem = self.repository.problem
            statement["repository"] = {"unreadable": problem} if problem else {"document": self.repository.document}
        try:
            return Digest.blake3(blake3(rfc8785.dumps(statement)).digest())
        except (rfc8785.CanonicalizationError, UnicodeError) as error:
            raise ConfigurationError(f"a policy has a value that JSON cannot carry: {error}") from error

    @property
    def enforcement(self) -> Enforcement:
        """What a checked repository policy asks for; required without one."""
        found = _member(self._own, "enforcement")
        if not isinstance(found, dict):
            return Enforcement(Mode.REQUIRED)
        mode = Mode(str(found["mode"]))
        if mode is Mode.REQUIRED:
            return Enforcement(mode)
        return Enforcement(mode, str(found["reason"]), date.fromisoformat(str(found["review_after"])))

    @property
    def rules(self) -> tuple[GlobalRule, ...]:
        """The global rules in the order of the file. Raises ``PolicyShapeError``."""
        rules = _read(self.global_document, "global_rules", list) or []
        return tuple(map(_global_rule, rules))

    def requirements(self, surface: str) -> Requirements:
        """What a surface requires. Raises ``PolicyShapeError``."""
        own = _member(_member(self._own, "surfaces"), surface)
        merged = _merged(self.global_document.get("defaults"), own)
        return _requirements(merged if isinstance(merged, dict) else {})

    @property
    def _own(self) -> JsonValue:
        return None if self.repository is None else self.repository.document


def readable_version(policies: Policies, repo: JsonValue) -> JsonValue:
    """The version that records name; the global one's where the repository's policy cannot be judged by."""
    is_readable = repository_problem(policies, repo) is None
    return policies.version if is_readable else replace(policies, repository=None).version


def check_global(policies: Policies) -> None:
    """Raises ``ConfigurationError`` with every violation of a global policy: nothing can be judged by it."""
    if found := violations(POLICY_SCHEMA, dict(policies.global_document)):
        problems = tuple(Problem(violation.pointer, violation.message) for violation in found)
        raise ConfigurationError(
            f"the global policy is invalid: {_told(found)}", hint="Mend the policy file.", problems=problems
        )


def repository_problem(policies: Policies, repo: JsonValue) -> str | None:
    """Why the repository's policy cannot be judged by; None if it can, or if there is none."""
    if policies.repository is None:
        return None
    if policies.repository.problem:
        return policies.repository.problem
    if found := violations(POLICY_SCHEMA, policies.repository.document):
        return f"schema-invalid — {_told(found)}"
    named = _member(policies.repository.document, "repo")
    return None if named in {None, repo} else f"it is the policy of {named}"


def _told(found: tuple[Violation, ...]) -> str:
    return "; ".join(map(str, found[:_TOLD]))


def _merged(below: JsonValue, above: JsonValue) -> JsonValue:
    if isinstance(below, dict) and isinstance(above, dict):
        laid_over = {key: _merged(below[key], value) if key in below else value for key, value in above.items()}
        return {**below, **laid_over}
    return below if above is None else above


def _member(value: JsonValue, key: str) -> JsonValue:
    return value.get(key) if isinstance(value, dict) else None


def _global_rule(found: JsonValue) -> GlobalRule:
    if not isinstance(found, dict):
        raise PolicyShapeError("a global rule is not a mapping")
    texts = (_read(found, key, str) or "" for key in ("id", "severity", "description"))
    return GlobalRule(*texts)


def _requirements(found: Mapping[str, JsonValue]) -> Requirements:
    freshness, modes, ci, evidence = (
        _read(found, key, dict) or {}
        for key in ("freshness", "execution_mode_policy", "ci_requirements", "evidence_requirements")
    )
    allowed = _texts(modes, "allowed")
    return Requirements(
        required_scenarios=_texts(found, "required_scenarios") or (),
        max_age_days=_number(freshness, "max_age_days"),
        warn_age_days=_number(freshness, "warn_age_days"),
        allowed_modes=allowed,
        coverage_min=_number(ci, "coverage_min"),
        tests_must_pass=is_truthy(ci.get("tests_must_pass")),
        required_kinds=_texts(evidence, "required_kinds") or (),
        min_evidence_count=_number(evidence, "min_evidence_count") or 0,
    )


def _texts(found: Mapping[str, JsonValue], key: str) -> tuple[str, ...] | None:
    items = _read(found, key, list)
    if items is not None and not all(isinstance(item, str) for item in items):
        raise PolicyShapeError(f"{key} is not a list of text")
    return None if items is None else tuple(map(str, items))


def _number(found: Mapping[str, JsonValue], key: str) -> float | None:
    value = found.get(key)
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return cast("float | None", value)
    raise PolicyShapeError(f"{key} is not a number")


def _read(found: Mapping[str, JsonValue], key: str, kind: type[_Kind]) -> _Kind | None:
    value = found.get(key)
    if value is None or isinstance(value, kind):
        return value
    raise PolicyShapeError(f"{key} is not a {kind.__name__}")
