"""Tell State Hub where a guide-board run's artifacts are: the reference client of ``POST /progress/``.

::

    python scripts/link_statehub.py [--dry-run] [PACKAGE_ID]

It reads the package from the registry and posts one progress entry of type ``artifact_link``. State Hub gets ids, the
digest and counts; no bytes. ``--dry-run`` prints the call and sends nothing to State Hub. Progress is append-only: each
run without it adds an entry. Nothing but the standard library is needed.

=========================  =======================================================================================
ARTIFACTSTORE_API_URL      the registry
ARTIFACTSTORE_API_TOKEN    a token that may read the package
STATE_HUB_URL              State Hub; http://127.0.0.1:8000, if not set
STATE_HUB_WORKSTREAM_ID    the workstream that the run belongs to, a UUID
STATE_HUB_TASK_ID          the task, a UUID
STATE_HUB_TOPIC_ID         optional, a UUID
STATE_HUB_DECISION_ID      optional, a UUID
STATE_HUB_PACKAGE_ID       the package, where it is not an argument
STATE_HUB_RUN_DIR          the run directory as people know it; runs/<run id>, if not set
=========================  =======================================================================================

Exit code 1: something to mend; 2: a server failed. Standard output is one JSON document.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import UUID

from json_request import RequestFailed, ask, told

if TYPE_CHECKING:
    from collections.abc import Mapping

STATE_HUB_URL = "http://127.0.0.1:8000"
SCHEMA_FAMILY = "guide-board.run."
HEADERS = {"Accept": "application/json", "Content-Type": "application/json"}
_OPTIONAL_IDS = ("topic_id", "decision_id")


def link(environment: Mapping[str, str], package_id: str, *, dry_run: bool) -> dict[str, object]:
    """Post the entry, or with ``dry_run`` only say what would be posted. Raises ``RequestFailed``."""
    registry, hub = _servers(environment)
    ids = _ids(environment)
    package = ask(
        registry,
        "GET",
        f"/packages/{quote(package_id, safe='')}",
        token=_setting(environment, "ARTIFACTSTORE_API_TOKEN"),
    ).document
    entry = progress_entry(package, ids, registry=registry, run_dir=environment.get("STATE_HUB_RUN_DIR"))
    call: dict[str, object] = {"method": "POST", "url": f"{hub}/progress/"}
    if dry_run:
        return {"dry_run": True, **call, "headers": HEADERS, "body": entry}
    answer = ask(hub, "POST", "/progress/", document=entry)
    return {"dry_run": False, **call, "status": answer.status, "answer": answer.document}


def progress_entry(
    package: Mapping[str, Any], ids: Mapping[str, str], *, registry: str, run_dir: str | None
) -> dict[str, object]:
    """The body of ``POST /progress/`` for a package. Raises ``RequestFailed`` if it is no guide-board run."""
    metadata, package_id = package.get("metadata") or {}, package["package_id"]
    if package["status"] != "finalized" or not str(package["schema"]).startswith(SCHEMA_FAMILY):
        raise RequestFailed(
            f"package {package_id} is {package['status']}, with schema {package['schema']}",
            hint=f"Only a finalized package with a schema {SCHEMA_FAMILY}* can be linked.",
        )
    run_id = metadata["run_id"]
    return {
        "summary": f"guide-board run {run_id} artifacts stored in artifact-store package {package_id}",
        "event_type": "artifact_link",
        "author": "artifact-store",
        **ids,
        "detail": {
            "producer": package["producer"],
            "artifact_store_api_url": registry,
            "run_dir": run_dir or f"runs/{run_id}",
            "run_id": run_id,
            "target_profile_ref": metadata["target_profile_ref"],
            "assessment_profile_ref": metadata["assessment_profile_ref"],
            "result_status": metadata["result_status"],
            "evidence_counts": metadata["evidence_counts"],
            "finding_counts": metadata["finding_counts"],
            "package_id": package_id,
            "manifest_digest": package["manifest_digest"],
            "file_count": package["file_count"],
            "retention_class": package["retention_class"],
            "expires_at": package["expires_at"],
        },
    }


def _servers(environment: Mapping[str, str]) -> tuple[str, str]:
    registry = _setting(environment, "ARTIFACTSTORE_API_URL").rstrip("/")
    hub = (environment.get("STATE_HUB_URL") or STATE_HUB_URL).rstrip("/")
    if registry == hub:
        raise RequestFailed(
            f"the registry and State Hub cannot both be at {hub}",
            hint="Both listen on port 8000 unless told otherwise: let one of them take another.",
        )
    return registry, hub


def _ids(environment: Mapping[str, str]) -> dict[str, str]:
    needed = {name: _uuid(environment, name) for name in ("workstream_id", "task_id")}
    given = {name: _uuid(environment, name) for name in _OPTIONAL_IDS if environment.get(f"STATE_HUB_{name.upper()}")}
    return needed | given


def _uuid(environment: Mapping[str, str], name: str) -> str:
    variable = f"STATE_HUB_{name.upper()}"
    text = _setting(environment, variable)
    try:
        return str(UUID(text))
    except ValueError:
        raise RequestFailed(f"{variable} is not a UUID: {text[:80]!r}") from None


def _setting(environment: Mapping[str, str], name: str) -> str:
    if value := environment.get(name, ""):
        return value
    raise RequestFailed(f"{name} is not set", hint="docs/pilots/guide-board.md has the recipe.")


def main(arguments: list[str]) -> int:
    """Run it; the exit code."""
    if "-h" in arguments or "--help" in arguments:
        sys.stdout.write(f"{__doc__}")
        return 0
    try:
        document = link(os.environ, _package_id(arguments), dry_run="--dry-run" in arguments)
    except RequestFailed as failure:
        return told(failure)
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    return 0


def _package_id(arguments: list[str]) -> str:
    given = [argument for argument in arguments if argument != "--dry-run"]
    if len(given) > 1 or any(argument.startswith("-") for argument in given):
        raise RequestFailed("it takes one package id and --dry-run", hint="--help says more.")
    return given[0] if given else _setting(os.environ, "STATE_HUB_PACKAGE_ID")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
