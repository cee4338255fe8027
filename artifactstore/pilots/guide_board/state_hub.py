"""A webhook's body for State Hub: the progress entry that links a run's package, when the package is finalized.

It is the entry that ``scripts/link_statehub.py`` posts, field for field; that script stays one file of the standard
library, so the two have no code in common and a test compares them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import UUID

from artifactstore.errors import ConfigurationError
from artifactstore.plugins import WebhookFormat

if TYPE_CHECKING:
    from collections.abc import Mapping

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.plugins import Notice, PluginContext

FINALIZED = "v1.package.finalized"
SCHEMA_FAMILY = "guide-board.run."
HINT = "docs/guides/webhooks.md shows a webhook to State Hub."

_REQUIRED_IDS = ("workstream_id", "task_id")
_OPTIONAL_IDS = ("topic_id", "decision_id")
_OPTIONS = {*_REQUIRED_IDS, *_OPTIONAL_IDS, "artifact_store_api_url", "run_dir"}
_RUN_DIR = "runs/{run_id}"
_OF_THE_RUN: dict[str, type] = {
    "run_id": str,
    "target_profile_ref": str,
    "assessment_profile_ref": str,
    "result_status": str,
    "evidence_counts": dict,
    "finding_counts": dict,
}
_VISIBLE = re.compile(r"[!-~]+")


def body(notice: Notice, context: PluginContext, options: Mapping[str, str]) -> Mapping[str, JsonValue] | None:
    """The entry for a package that was finalized; None for what is no guide-board run, or past its retention."""
    if notice.type != FINALIZED:
        return None
    package = context.package(notice.subject)
    metadata = package["metadata"] or {}
    if package["status"] != "finalized" or not str(package["schema"]).startswith(SCHEMA_FAMILY):
        return None
    says_it_all = all(isinstance(metadata.get(name), kind) for name, kind in _OF_THE_RUN.items())
    if not says_it_all:  # a schema of somebody's own in this family
        return None
    return _entry(package, metadata, options)


def check_options(options: Mapping[str, str]) -> None:
    """Raises ``ConfigurationError`` naming the option."""
    if unknown := sorted(options.keys() - _OPTIONS):
        raise ConfigurationError(f"options: {unknown[0][:80]} is not one of {', '.join(sorted(_OPTIONS))}", hint=HINT)
    for name in (*_REQUIRED_IDS, "artifact_store_api_url"):
        if not options.get(name):
            raise ConfigurationError(f"options: {name} is missing", hint=HINT)
    for name in (*_REQUIRED_IDS, *(name for name in _OPTIONAL_IDS if name in options)):
        if not _is_uuid(options[name]):
            raise ConfigurationError(f"options: {name} is not a UUID", hint=HINT)
    if not _is_address(options["artifact_store_api_url"]):
        raise ConfigurationError("options: artifact_store_api_url is not the address of a server", hint=HINT)


def _entry(package: Mapping[str, Any], metadata: Mapping[str, Any], options: Mapping[str, str]) -> dict[str, JsonValue]:
    ids: dict[str, JsonValue] = {
        name: str(UUID(options[name])) for name in (*_REQUIRED_IDS, *_OPTIONAL_IDS) if name in options
    }
    run_id, package_id = metadata["run_id"], package["package_id"]
    return {
        "summary": f"guide-board run {run_id} artifacts stored in artifact-store package {package_id}",
        "event_type": "artifact_link",
        "author": "artifact-store",
        **ids,
        "detail": {
            "producer": package["producer"],
            "artifact_store_api_url": options["artifact_store_api_url"].rstrip("/"),
            "run_dir": (options.get("run_dir") or _RUN_DIR).replace("{run_id}", run_id),
            **{name: metadata[name] for name in _OF_THE_RUN},
            "package_id": package_id,
            "manifest_digest": package["manifest_digest"],
            "file_count": package["file_count"],
            "retention_class": package["retention_class"],
            "expires_at": package["expires_at"],
        },
    }


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    is_a_server = parts.scheme in {"http", "https"} and parts.hostname and "@" not in parts.netloc
    return bool(is_a_server and not parts.query and not parts.fragment and _VISIBLE.fullmatch(text))


FORMAT = WebhookFormat(name="state-hub", body=body, check_options=check_options)
