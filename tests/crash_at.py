"""Run a command line that kills itself at a failpoint: ``python -m tests.crash_at HIT ARGUMENT...``.

HIT counts every failpoint the run passes, from 1; 0 kills at none and prints their names on standard error.
"""

from __future__ import annotations

import os
import signal
import sys

from artifactstore import failpoints
from artifactstore.cli.main import run


def main() -> int:
    fatal_hit, passed = int(sys.argv[1]), 0

    def pass_by(name: str) -> None:
        nonlocal passed
        passed += 1
        if fatal_hit == 0:
            sys.stderr.write(f"failpoint {name}\n")
        elif passed == fatal_hit:
            os.kill(os.getpid(), signal.SIGKILL)

    failpoints.arm(pass_by)
    return run(sys.argv[2:])


sys.exit(main())
