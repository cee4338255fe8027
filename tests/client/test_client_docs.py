"""docs/reference/client.md: its example is run, its methods are there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from artifactstore.client import Client
from tests.support import tree_contents, write_tree

if TYPE_CHECKING:
    from tests.client.running_server import RunningServer

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "client.md").read_text()


def test_the_example_works(running_server: RunningServer, tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    files = {"a.txt": b"1", "b/c.log": b"2"}
    write_tree(tmp_path / "build" / "reports", files)

    done = subprocess.run(
        [sys.executable, "-c", example],
        env={**os.environ, **running_server.environment("ci")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "blake3:" in done.stdout
    assert tree_contents(tmp_path / "copy") == files


def test_every_method_stands_in_the_table_and_no_other() -> None:
    table = PAGE.partition("## What it does")[2].partition("`RemoteContext")[0]
    named = set(re.findall(r"`(\w+)\(", table))

    public = {name for name in vars(Client) if not name.startswith("_")} - {"close"}

    assert public == named
