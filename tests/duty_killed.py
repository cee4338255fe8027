"""A process that runs one duty and kills itself at a failpoint: ``python -m tests.duty_killed DUTY FAILPOINT``."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import closing

from artifactstore import failpoints
from artifactstore.bootstrap import open_registry
from artifactstore.registry import sealing
from artifactstore.registry.duties import run_due
from artifactstore.registry.store_duties import require_duty
from tests.retention import without_grace


def main() -> None:
    duty, fatal = sys.argv[1:]

    def pass_by(name: str) -> None:
        if name == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    sealing.SEAL_EVENTS = 1
    with closing(open_registry(upgrade=False)) as registry:
        failpoints.arm(pass_by)
        run_due(without_grace(registry), [require_duty(duty)])


if __name__ == "__main__":
    main()
