"""Children that write to a tree and kill themselves: ``python -m tests.pilots.testing_os.tree_process``.

Each line of standard input is a JSON object: at which failpoint to die (0 at none), the tree's root, and the records
and indexes to write. The answer is the child's exit status and the failpoints that were passed, if it has lived.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from artifactstore import failpoints
from artifactstore.domain.instant import system_clock
from artifactstore.pilots.testing_os.tree import locked_tree


def write(order: dict[str, Any]) -> list[str]:
    """What became of each record."""
    with locked_tree(Path(order["root"]), wait_s=order.get("wait_s", 20)) as tree:
        if order.get("hold"):
            sys.stdout.write("held\n")
            sys.stdout.flush()
            time.sleep(order["hold"])
        outcomes = [tree.write_record(path, text.encode()).value for path, text in order.get("records", {}).items()]
        if "indexes" in order:
            documents = {name: text.encode() for name, text in order["indexes"].items()}
            tree.write_indexes(documents, started_at=system_clock())
    return outcomes


def child(order: dict[str, Any], answer: int) -> None:
    passed: list[str] = []

    def pass_by(name: str) -> None:
        passed.append(name)
        if len(passed) == order["hit"]:
            os.kill(os.getpid(), signal.SIGKILL)

    failpoints.arm(pass_by)
    write(order)
    os.write(answer, json.dumps(passed).encode())


def main() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                child(order, writing)
            finally:  # a child must not go on as if it were the parent
                os._exit(1 if sys.exc_info()[0] else 0)
        os.close(writing)
        with os.fdopen(reading, "rb") as answer:
            passed = json.loads(answer.read() or b"[]")
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        sys.stdout.write(json.dumps([status, passed]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
