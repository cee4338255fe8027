"""The metadata schema of a run, as it ships in ``artifactstore/schemas``."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from artifactstore.domain.canonical import JsonValue

RUN_SCHEMA = "guide-board.run.v1"


def run_schemas() -> Mapping[str, JsonValue]:
    """Every schema of this pilot, by slug."""
    text = files("artifactstore").joinpath("schemas", f"{RUN_SCHEMA}.json").read_bytes()
    return {RUN_SCHEMA: json.loads(text)}
