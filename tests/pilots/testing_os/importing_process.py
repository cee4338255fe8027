"""Children that import a tree and kill themselves: ``python -m tests.pilots.testing_os.importing_process``.

Each line of standard input is HIT ROOT HOME: at which failpoint to die (0 at none), the tree, and the store's home. The
answer is the child's exit status and the failpoints that were passed, if it has lived.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import closing
from pathlib import Path

from artifactstore import failpoints
from artifactstore.bootstrap import open_registry
from artifactstore.pilots.testing_os.importing import import_tree
from artifactstore.plugins import RetentionClass
from tests.pilots.testing_os.store import RecordStore
from tests.service import settings_of


def import_until(fatal_hit: int, root: Path, home: Path) -> list[str]:
    passed: list[str] = []

    def pass_by(name: str) -> None:
        passed.append(name)
        if len(passed) == fatal_hit:
            os.kill(os.getpid(), signal.SIGKILL)

    with closing(open_registry(settings_of(home))) as registry:
        store = RecordStore(registry, settings_of(home))
        failpoints.arm(pass_by)
        import_tree(store.context.contributed(), root, RetentionClass.PERMANENT_RECORD)
        failpoints.arm(None)
    return passed


def main() -> None:
    for line in sys.stdin:
        hit, root, home = line.split()
        reading, writing = os.pipe()
        if not (child := os.fork()):
            os.write(writing, json.dumps(import_until(int(hit), Path(root), Path(home))).encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            passed = json.loads(pipe.read() or "[]")
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        sys.stdout.write(json.dumps([status, passed]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
