"""Register every metadata schema of a directory with a server. Running it twice is harmless.

::

    export ARTIFACTSTORE_API_URL=http://127.0.0.1:8000 ARTIFACTSTORE_API_TOKEN=...
    python scripts/register_schemas.py [DIRECTORY]

A schema's slug is its file's name without ``.json``; DIRECTORY is ``schemas`` beside this folder, if left out. The
token needs the scope ``admin``. The answer is one JSON document. Exit code 1: something to mend, such as another schema
under a slug, which is refused; 2: the server failed. Nothing but the standard library is needed.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from json_request import RequestFailed, ask, told

SCHEMAS = Path(__file__).resolve().parents[1] / "schemas"


def register(server: str, token: str, folder: Path) -> list[dict[str, object]]:
    """Register each schema, by slug; which of them are new. Raises ``RequestFailed`` at the first refusal."""
    files = sorted(folder.glob("*.json"))
    if not files:
        raise RequestFailed(f"there is no *.json in {folder}")
    registered = []
    for file in files:
        body = {"slug": file.stem, "json_schema": _schema(file)}
        answer = ask(server, "POST", "/metadata-schemas", token=token, document=body)
        registered.append({"slug": file.stem, "new": answer.status == 201})  # noqa: PLR2004 - Created
    return registered


def _schema(file: Path) -> object:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RequestFailed(f"{file} cannot be read as JSON: {error}") from error


def _setting(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise RequestFailed(f"{name} is not set", hint="`make dev` prints the two lines that set what is needed.")
    return value


def main(arguments: list[str]) -> int:
    """Run it; the exit code."""
    if arguments in (["-h"], ["--help"]):
        sys.stdout.write(f"{__doc__}")
        return 0
    if len(arguments) > 1 or any(argument.startswith("-") for argument in arguments):
        return told(RequestFailed("it takes one directory at most", hint="--help says more."))
    folder = Path(arguments[0]) if arguments else SCHEMAS
    try:
        server, token = _setting("ARTIFACTSTORE_API_URL"), _setting("ARTIFACTSTORE_API_TOKEN")
        schemas = register(server, token, folder)
    except RequestFailed as failure:
        return told(failure)
    sys.stdout.write(json.dumps({"schemas": schemas}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
