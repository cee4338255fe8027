"""A submission that is accepted, changes to it, and judging it with everything else at its ordinary value."""

from __future__ import annotations

import copy
import json
from typing import Any

from artifactstore.domain.instant import parse_instant
from artifactstore.pilots.testing_os.policy import Policies, RepositoryPolicy
from artifactstore.pilots.testing_os.profiles import DEFAULT
from artifactstore.pilots.testing_os.provenance import stub_provenance
from artifactstore.pilots.testing_os.submission import parse_submission
from artifactstore.pilots.testing_os.verifier import Verification, verify
from artifactstore.pilots.testing_os.yaml_core import load_yaml
from tests.pilots.testing_os.golden import base_submission, policy_texts

MISSING = object()
AS_OF = parse_instant("2026-03-20T12:00:00Z")
REPO = "mcp-tool-shop-org/golden"
SCENARIO = "record-ingest-roundtrip"
_BASE = base_submission()
_GLOBAL = load_yaml(policy_texts()["global"].encode(), what="the global policy")


def submission(changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """The accepted submission with values put at JSON pointers; ``MISSING`` takes one away."""
    document = copy.deepcopy(_BASE)
    for pointer, value in (changes or {}).items():
        *above, last = pointer.split("/")[1:]
        parent: Any = document
        for step in above:
            parent = parent[int(step) if isinstance(parent, list) else step]
        if value is MISSING:
            del parent[last]
        else:
            parent[int(last) if isinstance(parent, list) else last] = value
    return document


def repository_policy(**members: Any) -> RepositoryPolicy:
    return RepositoryPolicy({"policy_version": "2.3.4", **members})


def policies(repository: RepositoryPolicy | None = None, **members: Any) -> Policies:
    """The golden global policy, some of its members changed, and a repository's."""
    return Policies({**_GLOBAL, **members}, repository)


def judge(document: Any, **options: Any) -> Verification:
    """Judge a document in the default profile, a day after it finished, unless ``options`` say otherwise."""
    ordinary = {
        "policies": policies(),
        "scenarios": None,
        "provenance": stub_provenance,
        "profile": DEFAULT,
        "as_of": AS_OF,
        "verified_at": AS_OF,
    }
    return verify(parse_submission(json.dumps(document).encode()), **{**ordinary, **options})


def texts(verification: Verification) -> list[str]:
    return [reason.text for reason in verification.reasons]


def codes(verification: Verification) -> list[str]:
    return [reason.code for reason in verification.reasons]


def warning_texts(verification: Verification) -> list[str]:
    return [warning.text for warning in verification.warnings]
