"""``make dev``: a server on a store of its own, with a token and the metadata schemas of this checkout.

::

    python scripts/dev.py HOME PORT

What it prepares is kept for the next time. It then becomes the server, so that Ctrl-C ends everything there is.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from artifactstore.bootstrap import open_registry
from artifactstore.config import Settings
from artifactstore.errors import TokenExistsError, UnauthenticatedError
from artifactstore.registry.tokens import authenticate, create_token, revoke_token

if TYPE_CHECKING:
    from collections.abc import Mapping

    from artifactstore.registry.registry import Registry

SCHEMAS = Path(__file__).parents[1] / "schemas"
TOKEN_NAME = "dev"  # noqa: S105 - what it is called
ELSEWHERE = ("DATABASE_URL", "STORAGE_URL", "API_URL", "API_TOKEN")
"""Settings that would lead away from the store below HOME."""


def main(home: str, port: str) -> NoReturn:
    """Prepare, tell, and become the server."""
    _check_port(port)
    environment = _environment(home)
    _run(environment, "db", "upgrade")
    for schema in sorted(SCHEMAS.glob("*.json")):
        _run(environment, "schema", "register", schema.stem, os.path.relpath(schema))
    with closing(open_registry(Settings.from_environment(environment))) as registry:
        token = _token(registry, Path(home) / "token")
    sys.stdout.write(f"\nexport ARTIFACTSTORE_API_URL=http://127.0.0.1:{port}\n")
    sys.stdout.write(f"export ARTIFACTSTORE_API_TOKEN={token}\n\n$ artifactstore serve --port {port}\n")
    sys.stdout.flush()
    command = [sys.executable, "-m", "artifactstore", "serve", "--port", port]
    os.execve(sys.executable, command, environment)  # noqa: S606 - no shell is wanted


def _check_port(port: str) -> None:
    """Exit, before anything is promised, if the server could not have it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", int(port)))
        except (OSError, OverflowError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "not a port"
            sys.exit(f"error: port {port}: {reason}\nhint: choose another one, such as make dev PORT=8010")


def _environment(home: str) -> dict[str, str]:
    away = {f"ARTIFACTSTORE_{name}" for name in ELSEWHERE}
    kept = {name: value for name, value in os.environ.items() if name not in away}
    return {**kept, "ARTIFACTSTORE_HOME": str(Path(home).absolute())}


def _run(environment: Mapping[str, str], *arguments: str) -> None:
    sys.stdout.write(f"$ artifactstore {' '.join(arguments)}\n")
    sys.stdout.flush()
    command = [sys.executable, "-m", "artifactstore", *arguments]
    subprocess.run(command, env=environment, check=True)  # noqa: S603 - our own command


def _token(registry: Registry, file: Path) -> str:
    """The token of last time if this store still knows it, else a new one, readable by its owner only."""
    if file.is_file():
        text = file.read_text(encoding="ascii").strip()
        try:
            authenticate(registry, text)
        except UnauthenticatedError:
            file.unlink()
        else:
            return text
    try:
        text, _ = create_token(registry, TOKEN_NAME, ["admin"])
    except TokenExistsError:
        revoke_token(registry, TOKEN_NAME)
        text, _ = create_token(registry, TOKEN_NAME, ["admin"])
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as stream:
        stream.write(f"{text}\n")
    return text


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except subprocess.CalledProcessError as failure:
        sys.exit(failure.returncode)
