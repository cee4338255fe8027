"""A process that runs one duty and kills itself at a failpoint: ``python -m tests.duty_killed DUTY FAILPOINT``."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import closing
from dataclasses import replace

from artifactstore import failpoints
from artifactstore.bootstrap import open_registry
from artifactstore.domain.collection import CollectionPolicy
from artifactstore.registry import sealing
from artifactstore.registry.duties import run_due
from artifactstore.registry.store_duties import require_duty


def main() -> None:
    duty, fatal = sys.argv[1:]

    def pass_by(name: str) -> None:
        if name == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    sealing.SEAL_EVENTS = 1
    with closing(open_registry(upgrade=False)) as registry:
        failpoints.arm(pass_by)
        run_due(replace(registry, collection=CollectionPolicy(grace_s=0)), [require_duty(duty)])


if __name__ == "__main__":
    main()
