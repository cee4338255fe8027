"""The portfolio: one summary of what all repositories have shown, how fresh it is, and what is still missing.

::

    latest = documents(entries, as_of=now).latest_by_repo
    report = portfolio(latest, read_all_policies(Path("policies")), as_of=now)

The shape is the original's. The thresholds are those that submissions are judged by: a surface's own ``freshness`` over
the global defaults (the original of 1.1.7 looks for it one level too high and finds 30 days for everybody), and an
enforcement mode whose review date has gone by is ``required`` again. A policy that cannot be judged by is told beside
the report, and its repository is reported as one that has none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from artifactstore.errors import Problem
from artifactstore.pilots.testing_os.ecmascript import json_text
from artifactstore.pilots.testing_os.exporting import index_documents
from artifactstore.pilots.testing_os.formats import instant_ms
from artifactstore.pilots.testing_os.index_documents import age_days
from artifactstore.pilots.testing_os.policy import Mode, Policies, check_global, repository_problem
from artifactstore.pilots.testing_os.record import instant_text_ms

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.domain.instant import Instant
    from artifactstore.pilots.testing_os.policy_files import AllPolicies
    from artifactstore.pilots.testing_os.policy_sources import PolicySource
    from artifactstore.plugins.contributed import Contributed

SURFACES = ("cli", "desktop", "web", "api", "mcp-server", "npm-package", "plugin", "library")
"""What a product can be tested on, as the submission schema has it."""
DEFAULT_MAX_AGE_DAYS = 30

_COLLATION = {character: place for place, character in enumerate("_-./0123456789abcdefghijklmnopqrstuvwxyz")}


@dataclass(frozen=True, slots=True)
class Portfolio:
    """The report, and what was passed over for it."""

    document: dict[str, JsonValue]
    problems: tuple[Problem, ...]

    def file(self) -> bytes:
        """The report as the original writes it: two-space JSON, one newline at the end."""
        return (json_text(self.document) + "\n").encode()

    def listed(self, name: str) -> list[JsonValue]:
        """One of the report's lists."""
        found = self.document[name]
        assert isinstance(found, list), f"{name} of a report is a list"
        return found


@dataclass(slots=True)
class _Report:
    """What is told, as it comes together."""

    policies: Mapping[str, Policies]
    """By repository; only those that can be judged by."""
    global_policy: Policies
    as_of: Instant
    repos: list[dict[str, JsonValue]] = field(default_factory=list)
    stale: list[JsonValue] = field(default_factory=list)
    unknown_freshness: list[JsonValue] = field(default_factory=list)

    def add(self, repo: str, surface: str, entry: Mapping[str, JsonValue]) -> None:
        policies = self.policies.get(repo, self.global_policy)
        requirements = policies.requirements(surface)
        days = _days_since(entry.get("finished_at"), self.as_of)
        scenarios = requirements.required_scenarios
        self.repos.append(
            {
                "repo": repo,
                "surface": surface,
                "verified": entry.get("verified"),
                "enforcement": self.mode_of(repo),
                "freshness_days": days,
                "scenario": scenarios[0] if scenarios else None,
                "scenarios": list(scenarios),
                "run_id": entry.get("run_id"),
                "finished_at": entry.get("finished_at"),
            }
        )
        max_age_days = requirements.max_age_days if requirements.max_age_days is not None else DEFAULT_MAX_AGE_DAYS
        place: dict[str, JsonValue] = {"repo": repo, "surface": surface}
        if days is None:
            self.unknown_freshness.append({**place, "raw_finished_at": entry.get("finished_at")})
        elif days > max_age_days:
            self.stale.append({**place, "freshness_days": days, "max_age_days": max_age_days})

    def mode_of(self, repo: str) -> str:
        policies = self.policies.get(repo)
        return (Mode.REQUIRED if policies is None else policies.enforcement.in_force(self.as_of)).value


def portfolio(latest: Mapping[str, JsonValue], policies: AllPolicies, *, as_of: Instant) -> Portfolio:
    """The report over latest-by-repo.json and all policies, at an instant.

    Raises ``ConfigurationError`` if the global policy is invalid: nobody is judged by such a one either.
    """
    check_global(policies.global_policy)
    told = {repo: found for repo, each in policies.by_repo.items() if (found := repository_problem(each, repo))}
    problems = [Problem(repo, f"its policy is passed over: {problem}") for repo, problem in told.items()]
    usable = {repo: each for repo, each in policies.by_repo.items() if repo not in told}
    report = _Report(usable, policies.global_policy, as_of)
    for repo, surface, entry in _entries(latest, problems):
        report.add(repo, surface, entry)
    missing: list[JsonValue] = [
        {"repo": repo, "surface": surface, "enforcement": report.mode_of(repo)}
        for repo, each in usable.items()
        for surface in _own_surfaces(each)
        if not _has(latest, repo, surface)
    ]
    report.repos.sort(key=lambda entry: _collated(str(entry["repo"])))
    document: dict[str, JsonValue] = {
        "generatedAt": instant_text_ms(as_of),
        "coverage": {
            "total_repos": len({str(entry["repo"]) for entry in report.repos}),
            "surfaces_covered": len({str(entry["surface"]) for entry in report.repos}),
            "surfaces_total": len(SURFACES),
        },
        "repos": [*report.repos],
        "stale": report.stale,
        "missing": missing,
        "unknown_freshness": report.unknown_freshness,
    }
    return Portfolio(document, tuple(problems))


def recorded_portfolio(contributed: Contributed, policies: PolicySource, *, as_of: Instant) -> Portfolio:
    """The report over what is recorded. Raises as ``portfolio`` does, and what keeps policies from being read."""
    latest = index_documents(contributed, as_of=as_of).latest_by_repo
    return portfolio(latest, policies.everything(), as_of=as_of)


def _entries(
    latest: Mapping[str, JsonValue], problems: list[Problem]
) -> Iterator[tuple[str, str, Mapping[str, JsonValue]]]:
    """What the index says of each surface; what it does not say is a problem."""
    for repo, surfaces in latest.items():
        if not isinstance(surfaces, dict):
            problems.append(Problem(repo, "its entry in the index is no object"))
            continue
        for surface, entry in surfaces.items():
            if isinstance(entry, dict):
                yield repo, surface, entry
            else:
                problems.append(Problem(f"{repo}/{surface}", "its entry in the index is no object"))


def _has(latest: Mapping[str, JsonValue], repo: str, surface: str) -> bool:
    surfaces = latest.get(repo)
    return isinstance(surfaces, dict) and bool(surfaces.get(surface))


def _own_surfaces(policies: Policies) -> list[str]:
    """The surfaces that a repository's own policy names."""
    own = policies.repository.document if policies.repository is not None else None
    surfaces = own.get("surfaces") if isinstance(own, dict) else None
    return list(surfaces) if isinstance(surfaces, dict) else []


def _days_since(finished_at: JsonValue, as_of: Instant) -> int | None:
    finished_ms = instant_ms(finished_at) if isinstance(finished_at, str) else None
    return None if finished_ms is None else age_days(finished_ms, as_of)


def _collated(repo: str) -> tuple[list[int], list[bool]]:
    """As ``localeCompare`` sorts names of repositories: punctuation, digits, letters, small before capital ones."""
    return [_COLLATION.get(character, ord(character)) for character in repo.lower()], [
        character.isupper() for character in repo
    ]
