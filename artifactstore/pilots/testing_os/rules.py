"""What submissions are judged by: policies, provenance, definitions of scenarios, and when."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from artifactstore.domain.instant import system_clock
from artifactstore.errors import ConfigurationError
from artifactstore.pilots.testing_os.faults import ProvenanceFaultError
from artifactstore.pilots.testing_os.policy_files import read_scenarios
from artifactstore.pilots.testing_os.policy_sources import policies_of
from artifactstore.pilots.testing_os.profiles import DEFAULT, V1_1, profile_named
from artifactstore.pilots.testing_os.provenance import (
    of_another_commit,
    rejecting_provenance,
    repo_binding,
    stub_provenance,
    unconfirmed,
)
from artifactstore.pilots.testing_os.scenarios import scenario_ids
from artifactstore.pilots.testing_os.schemas import SUBMISSION_SCHEMA, violations
from artifactstore.pilots.testing_os.submission import submission_of
from artifactstore.plugins import RetentionClass, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.domain.instant import Instant
    from artifactstore.pilots.testing_os.github_api import GitHubApi
    from artifactstore.pilots.testing_os.policy import Policies
    from artifactstore.pilots.testing_os.policy_sources import PolicySource
    from artifactstore.pilots.testing_os.profiles import Profile
    from artifactstore.pilots.testing_os.provenance import ProvenanceCheck
    from artifactstore.pilots.testing_os.scenarios import Scenarios
    from artifactstore.plugins.contributed import RecordingContext
    from artifactstore.plugins.host import Surroundings

PROVENANCES = ("github", "stub", "rejecting")
SCENARIOS = Path("dogfood", "scenarios")
"""Below the root of a repository."""


def _no_definitions(_document: JsonValue, _provenance: ProvenanceCheck) -> Scenarios | None:
    return None


@dataclass(frozen=True, slots=True)
class Rules:
    """What submissions are judged by, and how long their records stay."""

    policies: Callable[[JsonValue], Policies]
    """Those of a repository, by what a submission says it is."""
    provenance: ProvenanceCheck
    scenarios: Callable[[JsonValue, ProvenanceCheck], Scenarios | None] = _no_definitions
    """The definitions of a submission's scenarios; None if nobody looks for any."""
    profile: Profile = DEFAULT
    as_of: Instant | None = None
    """When ages and review dates are judged; now, if None."""
    retention_class: RetentionClass = RetentionClass.PERMANENT_RECORD
    submitted_by: str | None = None
    """The token that a server was shown."""
    clock: Callable[[], Instant] = system_clock


def rules_of(
    context: RecordingContext,
    repo_root: Path | None,
    provenance: str | ProvenanceCheck,
    *,
    policies: PolicySource | None = None,
    profile: str = "default",
    scenarios: Path | None = None,
    as_of: Instant | None = None,
    submitted_by: str | None = None,
) -> Rules:
    """What to judge by. Policies are those that are handed in, else what ``policies_of`` finds for the root.

    Raises ``UsageError`` and ``ConfigurationError`` before anything is looked at.
    """
    contributed = context.contributed()
    chosen, surroundings = profile_named(profile), contributed.surroundings
    api = _github(surroundings) if provenance == "github" else None
    check = _provenance(provenance, chosen, surroundings, api)
    rules = Rules(
        policies=(policies or policies_of(contributed, repo_root)).of,
        provenance=check,
        profile=chosen,
        as_of=as_of,
        submitted_by=submitted_by,
    )
    if scenarios is not None:
        return replace(rules, scenarios=partial(_scenarios_in, scenarios))
    if chosen is V1_1:
        return rules
    if api is not None:
        return replace(rules, scenarios=partial(_scenarios_at_commit, api))
    if repo_root is not None and (repo_root / SCENARIOS).is_dir():
        return replace(rules, scenarios=partial(_scenarios_in, repo_root / SCENARIOS))
    return rules


def _provenance(
    named: str | ProvenanceCheck, profile: Profile, surroundings: Surroundings, api: GitHubApi | None
) -> ProvenanceCheck:
    if not isinstance(named, str):
        return named
    if named == "github":
        from artifactstore.pilots.testing_os.github import github_provenance, github_provenance_1_1

        assert api is not None, "it was asked for"
        return github_provenance_1_1(api) if profile is V1_1 else github_provenance(api)
    if named == "stub" and surroundings.is_ci:
        raise UsageError(
            "stub provenance confirms what nobody has looked up, so it is refused in CI",
            hint="Use --provenance github there.",
        )
    known = {"stub": stub_provenance, "rejecting": rejecting_provenance}
    if named not in known:
        raise UsageError(f"there is no provenance {named[:40]!r}", hint=f"There are {', '.join(PROVENANCES)}.")
    return known[named]


def _github(surroundings: Surroundings) -> GitHubApi:
    from artifactstore.pilots.testing_os.github_api import PUBLIC_API, GitHubApi

    if not surroundings.github_token:
        raise ConfigurationError(
            "GitHub cannot be asked without a token", hint="Set GITHUB_TOKEN or GH_TOKEN, which CI jobs have."
        )
    return GitHubApi(surroundings.github_token, base_url=surroundings.github_api_url or PUBLIC_API)


def _scenarios_in(directory: Path, document: JsonValue, _provenance: ProvenanceCheck) -> Scenarios | None:
    return read_scenarios(directory, scenario_ids(document)) if isinstance(document, dict) else None


def _scenarios_at_commit(api: GitHubApi, document: JsonValue, provenance: ProvenanceCheck) -> Scenarios | None:
    """Asked for only of a run that is confirmed, in its own repository and at its own commit.

    Anything else is rejected without them: nobody learns by a token of ours what another repository requires.
    """
    from artifactstore.pilots.testing_os.github import scenario_definitions

    if not isinstance(document, dict) or violations(SUBMISSION_SCHEMA, document) or any(repo_binding(document)):
        return None
    submission = submission_of(document)
    try:
        confirmation = provenance(submission.source, submission.ref)
    except ProvenanceFaultError:
        return None  # who verifies asks again, and says it
    if any(unconfirmed(confirmation)) or any(of_another_commit(submission, confirmation)):
        return None
    return scenario_definitions(api, submission.repo, submission.ref.commit_sha, scenario_ids(document))
