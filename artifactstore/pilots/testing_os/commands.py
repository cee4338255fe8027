"""``artifactstore testing-os``: every command of this pilot, in the order in which the help has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifactstore.pilots.testing_os.judging_commands import add_judging_commands
from artifactstore.pilots.testing_os.policy_commands import add_policy_commands
from artifactstore.pilots.testing_os.tree_commands import add_tree_commands
from artifactstore.pilots.testing_os.view_commands import add_view_commands

if TYPE_CHECKING:
    import typer

    from artifactstore.plugins import CommandDoor


def add_commands(group: typer.Typer, door: CommandDoor) -> None:
    """Add the pilot's commands to its group."""
    add_judging_commands(group, door)
    add_tree_commands(group, door)
    add_view_commands(group, door)
    add_policy_commands(group, door)
