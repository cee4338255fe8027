"""Plant each known bug in a copy of this tree and see that its tests notice.

``python -m scripts.plant_bugs [WORD...]``. With words, only bugs whose names have one of them. Prints a line for each;
exit 1 if one is not noticed, or if a test fails without any. The tree itself is never changed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.planted_bugs import BUGS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.planted_bugs import PlantedBug

ROOT = Path(__file__).resolve().parents[1]
_NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "dist", "build")
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+::[^\s\[]+)", re.MULTILINE)


def main() -> int:
    """Plant what is asked for."""
    bugs = [bug for bug in BUGS if not sys.argv[1:] or any(word in bug.name for word in sys.argv[1:])]
    with tempfile.TemporaryDirectory(prefix="planted-bugs-") as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(ROOT, tree, ignore=_NOT_COPIED)
        if failing := failed_tests(tree, sorted({test for bug in bugs for test in bug.tests})):
            _say(f"without any bug these fail: {', '.join(sorted(failing))}")
            return 1
        survivors = [bug.name for bug in bugs if not is_noticed(tree, bug)]
    _say(f"{len(bugs)} bugs planted, {len(bugs) - len(survivors)} noticed by every test that is named for them")
    return int(bool(survivors))


def is_noticed(tree: Path, bug: PlantedBug) -> bool:
    """Whether every test that is named for it fails while it is there."""
    path = tree / bug.file
    sound, start = path.read_text(), time.monotonic()
    path.write_text(sound.replace(bug.was, bug.becomes))
    try:
        failed = failed_tests(tree, bug.tests)
    finally:
        path.write_text(sound)
    passed = [test for test in bug.tests if not any(each.startswith(test) for each in failed)]
    said = f"MISSED by {', '.join(passed)}" if passed else f"noticed by {', '.join(sorted(failed))}"
    _say(f"{bug.name} ({bug.file}): {said} [{time.monotonic() - start:.0f} s]")
    return not passed


def failed_tests(tree: Path, tests: Iterable[str]) -> set[str]:
    """Those of these tests that fail in this tree, by id. Raises if pytest itself does."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-rfE", "-p", "no:cacheprovider", "--no-header", *tests]
    if len(list(tests)) > 1:
        command.remove("-x")
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode not in {0, 1}:
        raise SystemExit(f"pytest ended with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return set(_FAILED.findall(done.stdout)) or ({"?"} if done.returncode else set())


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
