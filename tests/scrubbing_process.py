"""A process that scrubs for ever, a small slice at a time: ``python -m tests.scrubbing_process BYTES_PER_S``.

The store is that of the environment. It ends with its standard input, wherever it stands.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace

from artifactstore.bootstrap import open_registry
from artifactstore.registry.duties import Patience, run_due
from artifactstore.registry.store_duties import VERIFY

OFTEN = replace(VERIFY, every_s=0.02)
PATIENCE = Patience(heartbeat_s=0.1, runs_out_s=0.8)


def main() -> None:
    threading.Thread(target=_end_with_the_input, daemon=True).start()
    with closing(open_registry(upgrade=False)) as registry:
        scrubbed = replace(registry, scrub_bytes_per_s=int(sys.argv[1]), verify_every_days=1)
        while True:
            run_due(scrubbed, [OFTEN], patience=PATIENCE)
            time.sleep(OFTEN.every_s)


def _end_with_the_input() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
