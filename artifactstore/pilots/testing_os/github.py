"""GitHub asked over its API: whether a run is there, and which steps a scenario requires at a commit.

::

    api = GitHubApi(token)
    provenance = github_provenance(api)                                # or github_provenance_1_1(api)
    definitions = scenario_definitions(api, "org/repo", commit_sha, ids)

"Not there" is an answer; that GitHub could not be asked is none, and is raised: as a fault that passes (a time-out, an
outage, too many requests), which was tried twice more before, or as one that does not (no rights, no sense). Every
answer is bounded in size, depth and time, and nothing of it but what is named here is shown to anybody.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from artifactstore.domain.canonical import parse_json
from artifactstore.errors import ArtifactStoreError, LimitExceededError, ServiceError
from artifactstore.pilots.testing_os.faults import ProvenanceFaultError, ProvenanceUnavailableError
from artifactstore.pilots.testing_os.github_api import MAX_ANSWER_BYTES, GitHubApi, GitHubFailedError
from artifactstore.pilots.testing_os.provenance import Confirmation
from artifactstore.pilots.testing_os.scenarios import UnreadableScenario, is_safe_id, parse_scenario

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.pilots.testing_os.github_api import Answer
    from artifactstore.pilots.testing_os.provenance import ProvenanceCheck
    from artifactstore.pilots.testing_os.scenarios import ScenarioDefinition, Scenarios
    from artifactstore.pilots.testing_os.submission import Ref, Source

MAX_SCENARIOS = 1000
"""Distinct definitions that are fetched for one submission."""
MAX_SCENARIO_BYTES = 1024 * 1024

_JSON = "application/vnd.github+json"
_RAW = "application/vnd.github.raw+json"
_NOT_FOUND = 404
_AT_ONCE = 8
_NOT_CONFIRMED = Confirmation(confirmed=False)
_NAME = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9_.-]+"
"""What an owner or repository may be called: never a step that leads elsewhere in a path."""
_RUN_URL = re.compile(rf"https://github\.com/({_NAME}/{_NAME})/actions/runs/([0-9]+)")
_REPO = re.compile(rf"{_NAME}/{_NAME}")
_COMMIT = re.compile(r"[0-9a-f]{40}")


class ScenarioFetchFaultError(ServiceError):
    """A scenario's definition could not be asked for, and asking again would not help."""

    code = "SCENARIO_FETCH_FAULT"
    default_hint = "Nothing was recorded. Check the token and its rights, then send the submission again."


class ScenarioFetchUnavailableError(ScenarioFetchFaultError):
    """The same because of a failure that passes: a time-out, too many requests, an outage."""

    code = "SCENARIO_FETCH_UNAVAILABLE"
    retryable = True
    default_hint = "Nothing was recorded. Send the submission again a little later."


def github_provenance(api: GitHubApi) -> ProvenanceCheck:
    """Confirms a run that is there, is the one that is named, and is over; says which commit it ran on.

    What is not there is not confirmed. Raises ``ProvenanceFaultError`` if that cannot be told.
    """

    def confirm(source: Source, _ref: Ref, /) -> Confirmation:
        if (run := _named_run(source)) is None:
            return _NOT_CONFIRMED
        repo, run_id = run
        with _provenance_faults():
            answer = api.get(f"/repos/{repo}/actions/runs/{run_id}", accept=_JSON)
            return _NOT_CONFIRMED if answer.status == _NOT_FOUND else _confirmation(_document(answer), repo, run_id)

    return confirm


def github_provenance_1_1(api: GitHubApi) -> ProvenanceCheck:
    """As 1.1.7: asked once, whatever is no success is "not confirmed", and only a time-out is a fault."""

    def confirm(source: Source, _ref: Ref, /) -> Confirmation:
        if (run := _named_run(source)) is None:
            return _NOT_CONFIRMED
        repo, run_id = run
        try:
            answer = api.get_once(f"/repos/{repo}/actions/runs/{run_id}", accept=_JSON)
            found = None if answer.status == _NOT_FOUND else _document(answer)
        except GitHubFailedError as failure:
            if failure.was_time_out:
                raise ProvenanceUnavailableError(f"provenance: {failure}") from failure
            return _NOT_CONFIRMED
        return Confirmation(confirmed=_is_that_run(found, run_id))

    return confirm


def scenario_definitions(api: GitHubApi, repo: str, commit_sha: str, ids: Iterable[str]) -> Scenarios:
    """The definitions that a repository has of these scenarios at a commit; what is not there is left out.

    They share one deadline. Raises ``ScenarioFetchFaultError`` if one cannot be asked for, ``LimitExceededError`` for
    more than 1,000 ids.
    """
    from concurrent.futures import ThreadPoolExecutor

    wanted = list(dict.fromkeys(ids))
    if len(wanted) > MAX_SCENARIOS:
        raise LimitExceededError(
            f"{len(wanted)} distinct scenarios, more than the {MAX_SCENARIOS} that are looked up",
            hint="Send them as several submissions, each with a run id of its own.",
        )
    ends_at = api.ends_at()
    with ThreadPoolExecutor(_AT_ONCE, "fetch scenarios") as pool:
        jobs = [pool.submit(scenario_definition, api, repo, commit_sha, name, ends_at=ends_at) for name in wanted]
        try:
            found = [job.result() for job in jobs]
        finally:
            pool.shutdown(cancel_futures=True)  # one that fails is the answer: nobody asks for the others
    return {name: known for name, known in zip(wanted, found, strict=True) if known is not None}


def scenario_definition(
    api: GitHubApi, repo: str, commit_sha: str, scenario_id: str, *, ends_at: float | None = None
) -> ScenarioDefinition | UnreadableScenario | None:
    """``dogfood/scenarios/<id>.yaml`` of a repository at a commit; None if there is no such file.

    Raises ``ScenarioFetchFaultError`` if it cannot be asked for.
    """
    if not is_safe_id(scenario_id):
        return UnreadableScenario("invalid_id")
    if not _REPO.fullmatch(repo) or not _COMMIT.fullmatch(commit_sha):
        raise ScenarioFetchFaultError("scenario-fetch-fault: neither a repository nor a commit of GitHub is named")
    path = f"/repos/{repo}/contents/dogfood/scenarios/{scenario_id}.yaml?ref={commit_sha}"
    try:
        answer = api.get(path, accept=_RAW, limit=MAX_SCENARIO_BYTES, ends_at=ends_at)
    except GitHubFailedError as failure:
        kind = ScenarioFetchUnavailableError if failure.retryable else ScenarioFetchFaultError
        raise kind(f"scenario-fetch-fault: {failure}", hint=failure.hint) from failure
    if answer.status == _NOT_FOUND:
        return None
    return UnreadableScenario("too_large") if answer.is_cut_off else parse_scenario(answer.body)


def _named_run(source: Source) -> tuple[str, str] | None:
    """Repository and id of the run that a source names; None if it does not name one, or two. Raises for GitLab."""
    if source.provider != "github":
        raise ProvenanceFaultError(
            f"unsupported provider: {source.provider}", hint="Only runs of GitHub Actions can be confirmed."
        )
    found = _RUN_URL.fullmatch(source.run_url)
    return (found[1], found[2]) if found is not None and found[2] == source.provider_run_id else None


def _confirmation(found: JsonValue, repo: str, run_id: str) -> Confirmation:
    """A run that says of no commit that it ran on it confirms nothing; nor does one of another repository.

    GitHub answers for a name in other letters, or an old one, too: policies and indexes know one name.
    """
    head_sha = found.get("head_sha") if isinstance(found, dict) else None
    is_that = _is_that_run(found, run_id) and _full_name(found) in {None, repo}
    is_confirmed = is_that and isinstance(head_sha, str) and bool(_COMMIT.fullmatch(head_sha))
    return Confirmation(is_confirmed, str(head_sha) if is_confirmed else None)


def _full_name(found: JsonValue) -> JsonValue:
    repository = found.get("repository") if isinstance(found, dict) else None
    return repository.get("full_name") if isinstance(repository, dict) else None


def _is_that_run(found: JsonValue, run_id: str) -> bool:
    if not isinstance(found, dict):
        return False
    number = found.get("id")
    return isinstance(number, int) and str(number) == run_id and found.get("status") == "completed"


def _document(answer: Answer) -> JsonValue:
    """The JSON of an answer. Raises ``GitHubFailedError`` for what is none, or too much."""
    if answer.is_cut_off:
        raise GitHubFailedError(f"GitHub API answered with more than {MAX_ANSWER_BYTES} bytes")
    try:
        return parse_json(answer.body, what="the answer of the GitHub API")
    except ArtifactStoreError as error:
        raise GitHubFailedError("GitHub API answered with something that is no JSON") from error


@contextmanager
def _provenance_faults() -> Iterator[None]:
    try:
        yield
    except GitHubFailedError as failure:
        kind = ProvenanceUnavailableError if failure.retryable else ProvenanceFaultError
        raise kind(f"provenance: {failure}", hint=failure.hint) from failure
