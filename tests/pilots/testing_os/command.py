"""``artifactstore testing-os`` as a process, with a repository that has policies, and a store."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from tests.pilots.testing_os.golden import write_policies
from tests.pilots.testing_os.judging import REPO, submission
from tests.service import clean_environment
from tests.support import tree_contents

if TYPE_CHECKING:
    from pathlib import Path

RECORDS = f"records/{REPO}/2026/03/19"
AS_OF = ("--as-of", "2026-03-20T00:00:00Z")


class Command:
    """A repository with policies, and a store."""

    def __init__(self, folder: Path) -> None:
        self.root, self.home = folder / "root", folder / "home"
        self.root.mkdir()
        write_policies(self.root / "policies", "none")

    def __call__(self, *arguments: str, given: bytes = b"", settings: dict[str, str] | None = None) -> Any:
        """Exit code, answer, and what it said."""
        answer = self.run(*arguments, given=given, settings=settings)
        return answer.returncode, json.loads(answer.stdout or b"null"), answer.stderr.decode()

    def run(
        self, *arguments: str, given: bytes = b"", settings: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        without = {name: text for name, text in clean_environment().items() if name not in {"CI", "GITHUB_ACTIONS"}}
        return subprocess.run(
            [sys.executable, "-m", "artifactstore", "testing-os", *arguments],
            env={**without, "ARTIFACTSTORE_HOME": str(self.home), **(settings or {})},
            input=given, capture_output=True, check=False, timeout=60,
        )  # fmt: skip

    def started(self, *arguments: str) -> subprocess.Popen[bytes]:
        """The command, under way."""
        return subprocess.Popen(
            [sys.executable, "-m", "artifactstore", "testing-os", *arguments],
            env={**clean_environment(), "CI": "", "ARTIFACTSTORE_HOME": str(self.home)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def words(self, *arguments: str) -> str:
        """What is printed that is no JSON."""
        return self.run(*arguments).stdout.decode()

    def ingest(self, *arguments: str, given: bytes = b"", **options: Any) -> Any:
        return self(
            "ingest", "--repo-root", str(self.root), "--provenance", "stub", *AS_OF, *arguments, given=given, **options
        )

    def tree(self) -> dict[str, bytes]:
        return {path: data for path, data in tree_contents(self.root).items() if not path.startswith("policies")}


def encoded(changes: dict[str, Any] | None = None) -> bytes:
    return json.dumps(submission(changes)).encode()
