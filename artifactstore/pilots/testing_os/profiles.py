"""The two ways of judging, each as its list of stages.

``DEFAULT`` is what the product's architecture page promises; where that is silent, 1.1.7 as observed, or the published
rule of 1.14 where it is the safer one:

- a repository's policy that cannot be read, or violates its schema, rejects; an invalid global policy is an error;
- any reason to reject makes the verdict ``fail``;
- a provenance fault records nothing; the run must have run on ``ref.commit_sha``;
- the contract's major version must be understood;
- ``partial`` is a step status; a verdict that is no pass needs a step that explains it; required steps count;
- scenario definitions that cannot be read reject, missing ones warn;
- tests that must pass must be there, and coverage must have a value;
- a record that cannot be filed is rejected and not written, as is one whose ``repo`` has a lone dot;
- a global rule of severity ``reject`` that is not known here is an error, and one of severity ``warn`` warns.

``V1_1`` evaluates exactly what 1.1.7 evaluates, its mistakes included, for those who come from there.

In both, lists are as bounded as in 1.14, names have at most 200 characters, and a stage tells at most 200 reasons and
counts the rest, because what is recorded of a submission must not outgrow it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from artifactstore.errors import ConfigurationError, UsageError
from artifactstore.pilots.testing_os import stages
from artifactstore.pilots.testing_os.filing import file_record, file_record_1_1, place_of, place_of_1_1
from artifactstore.pilots.testing_os.policy import check_global, readable_version
from artifactstore.pilots.testing_os.policy_rules import CHECKED_ELSEWHERE, GLOBAL_CHECKS
from artifactstore.pilots.testing_os.stages import Stage, of_valid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.pilots.testing_os.filing import Filing, Place
    from artifactstore.pilots.testing_os.policy import Policies


@dataclass(frozen=True, slots=True)
class Profile:
    """A way of judging."""

    name: str
    stages: tuple[Stage, ...]
    """Before the verdict, in the order in which reasons are told."""
    after_verdict: tuple[Stage, ...]
    """What 1.1.7 finds only when the verdict has been given."""
    rejection_forces_fail: bool
    check_policies: Callable[[Policies], None]
    """Raises ``ConfigurationError`` for policies that nothing can be judged by."""
    version_of: Callable[[Policies, JsonValue], JsonValue]
    """The version that a record names, of the policies for a repository."""
    place_of: Callable[[Mapping[str, JsonValue]], Place]
    """Where a submission belongs, before it is judged; raises ``UnsafePlaceError``."""
    file_record: Callable[[dict[str, JsonValue]], Filing]
    not_an_object: str
    """The reason for a submission that is none."""
    last_key_wins: bool
    """Of equal keys in a submission; else they are refused."""
    throws_unfilable: bool
    """What cannot be filed is an error; else it is a rejection that is recorded nowhere."""
    replaces_rejections: bool
    """A stored rejection whose reasons are all retryable gives way to a submission that is accepted."""


def check_policies(policies: Policies) -> None:
    """The global policy is valid, and every rule by which it rejects is known. Raises ``ConfigurationError``."""
    check_global(policies)
    for rule in policies.rules:
        if rule.severity == "reject" and rule.id not in GLOBAL_CHECKS.keys() | CHECKED_ELSEWHERE:
            raise ConfigurationError(
                f"the global policy rejects by the rule {rule.id!r}, which is not known here",
                hint=f"Known are {', '.join(sorted(GLOBAL_CHECKS.keys() | CHECKED_ELSEWHERE))}.",
            )


def check_nothing(_policies: Policies) -> None:
    """As 1.1.7, which reads policies without asking whether they are valid."""


def any_version(policies: Policies, _repo: JsonValue) -> JsonValue:
    """As 1.1.7: whatever the repository's policy says, be it no version."""
    return policies.version


DEFAULT = Profile(
    name="default",
    stages=(
        Stage("repo-binding", stages.repo_binding),
        Stage("schema", stages.schema),
        Stage("contract-version", stages.contract_version),
        Stage("verifier-fields", stages.verifier_fields),
        Stage("provenance", of_valid(stages.confirmed_provenance)),
        Stage("steps", of_valid(stages.step_results)),
        Stage("policy", of_valid(stages.policy)),
        Stage("scenario-definitions", of_valid(stages.scenario_definitions)),
        Stage("place", of_valid(stages.place)),
    ),
    after_verdict=(),
    rejection_forces_fail=True,
    check_policies=check_policies,
    version_of=readable_version,
    place_of=place_of,
    file_record=file_record,
    not_an_object="submission-malformed: submission is null or not an object",
    last_key_wins=False,
    throws_unfilable=False,
    replaces_rejections=True,
)

V1_1 = Profile(
    name="1.1",
    stages=(
        Stage("repo-binding", stages.repo_binding),
        Stage("schema", stages.schema),
        Stage("verifier-fields", stages.verifier_fields),
        Stage("provenance", of_valid(stages.confirmed_provenance_1_1)),
        Stage("steps", of_valid(stages.step_results_1_1)),
        Stage("policy", of_valid(stages.policy_1_1)),
    ),
    after_verdict=(Stage("scenario-definitions", stages.scenario_definitions_1_1),),
    rejection_forces_fail=False,
    check_policies=check_nothing,
    version_of=any_version,
    place_of=place_of_1_1,
    file_record=file_record_1_1,
    not_an_object="submission is null or not an object",
    last_key_wins=True,
    throws_unfilable=True,
    replaces_rejections=False,
)

PROFILES = {profile.name: profile for profile in (DEFAULT, V1_1)}


def profile_named(name: str) -> Profile:
    """A profile by its name. Raises ``UsageError`` naming those there are."""
    if name not in PROFILES:
        raise UsageError(f"there is no profile {name[:40]!r}", hint=f"There are {' and '.join(PROFILES)}.")
    return PROFILES[name]
