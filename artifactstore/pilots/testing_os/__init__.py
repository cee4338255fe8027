"""The testing-os pilot: so far the word for where its submissions are observed, which any plug-in may use.

A submission's path id is ``<org>/<repo>/<UTC date>/<run id>``: what makes it another submission or the same.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from artifactstore.plugins import LocationKind, Plugin, Words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from artifactstore.domain.canonical import JsonValue

_PATH_ID = re.compile(r"[^/\s]+/[^/\s]+/[0-9]{4}-[0-9]{2}-[0-9]{2}/[A-Za-z0-9_-]+")


def _problem(path_id: str) -> str | None:
    return None if _PATH_ID.fullmatch(path_id) else "must be <org>/<repo>/<YYYY-MM-DD>/<run id>"


def _words() -> Words:
    kind = LocationKind("testing-os.submission", "<org>/<repo>/<UTC date>/<run id> of a submission.", problem=_problem)
    return Words(location_kinds=(kind,))


def _schemas() -> Mapping[str, JsonValue]:
    from artifactstore.pilots.testing_os.schemas import schemas

    return schemas()


PLUGIN = Plugin(name="testing-os", summary="Submissions of testing-os.", schemas=_schemas, words=_words)
