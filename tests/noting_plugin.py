"""A distribution with a plug-in that listens, as an installer would leave it: for processes whose path it is put on.

``noting.all`` writes down every schema that is registered, from the start; ``noting.later`` what happens from then on.
A file that exists makes a listener refuse: ``<folder>/refuse-all``, with the hint that is in the file if one is;
``end-all`` makes it end its process. With ``print`` they print, and with ``broken`` there are none.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

_MODULE = """
import json
import os
from pathlib import Path

from artifactstore.plugins import ConfigurationError, Listener, Plugin

FOLDER = Path(__file__).parent
TYPES = ("v1.metadata_schema.registered",)


def handler(name):
    def handle(notice, context):
        if (FOLDER / "print").exists():
            print(f"{name} was here")
        if (FOLDER / f"end-{name}").exists():
            os._exit(9)
        if (refusal := FOLDER / f"refuse-{name}").exists():
            hint = refusal.read_text()
            raise ConfigurationError("not now", hint=hint) if hint else ValueError("not now")
        line = {
            "seq": notice.seq, "at": notice.at.isoformat(), "type": notice.type, "subject": notice.subject,
            "actor": notice.actor, "payload": notice.payload, "max_files": context.max_files,
        }
        with (FOLDER / f"told-{name}").open("a") as told:
            told.write(json.dumps(line) + "\\n")
    return handle


def listeners():
    if (FOLDER / "broken").exists():
        raise RuntimeError("no listeners today")
    return [Listener("all", TYPES, handler("all"), from_the_start=True), Listener("later", TYPES, handler("later"))]


PLUGIN = Plugin(name="noting", summary="Notes what it is told.", listeners=listeners)
"""


def install(folder: Path) -> dict[str, str]:
    """Put the distribution there; the environment of a process that has it installed."""
    metadata = folder / "noting-1.2.dist-info"
    metadata.mkdir(parents=True)
    (folder / "noting_plugin_module.py").write_text(_MODULE)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: noting\nVersion: 1.2\n")
    (metadata / "entry_points.txt").write_text("[artifactstore.plugins]\nnoting = noting_plugin_module:PLUGIN\n")
    return {"PYTHONPATH": str(folder)}


def told(folder: Path, listener: str = "all") -> list[dict[str, Any]]:
    """What a listener was told so far."""
    path = folder / f"told-{listener}"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
