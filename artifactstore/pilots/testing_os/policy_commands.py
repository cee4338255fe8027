"""``artifactstore testing-os policies``: which policies are adopted in the store."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - Typer looks for it here
from typing import TYPE_CHECKING, Annotated

import typer

from artifactstore.errors import NotFoundError
from artifactstore.pilots.testing_os.command_options import recording

if TYPE_CHECKING:
    from artifactstore.domain.canonical import JsonValue
    from artifactstore.pilots.testing_os.adopted import Adopted
    from artifactstore.plugins import CommandDoor


def add_policy_commands(group: typer.Typer, door: CommandDoor) -> None:
    """Add them."""
    policies = typer.Typer(no_args_is_help=False, rich_markup_mode=None)
    group.add_typer(policies, name="policies", help="The policies that are adopted in the store.")

    @policies.command("adopt")
    def _adopt(
        directory: Annotated[
            Path, typer.Argument(metavar="DIR", help="Has global-policy.yaml, and repos/.", show_default=False)
        ],
    ) -> None:
        """Record the policies of a directory as one package, and judge by them from now on.

        All of them must be valid. What is adopted already changes nothing; what was adopted before is brought back.

        Example: artifactstore testing-os policies adopt policies
        """
        adopt_command(door, directory)

    @policies.command("show")
    def _show() -> None:
        """Show which policies are adopted. `artifactstore get PACKAGE_ID -o DIR` writes them to a directory.

        Example: artifactstore testing-os policies show
        """
        show_command(door)


def adopt_command(door: CommandDoor, directory: Path) -> None:
    """Answer what is adopted, whether it was not before, and what of the directory is no policy."""
    from artifactstore.domain.instant import system_clock
    from artifactstore.pilots.testing_os.adopting import adopt
    from artifactstore.pilots.testing_os.policy_sets import left_out, read_policy_set

    with door.context() as context:
        contributed = recording(context).contributed()
        policies = read_policy_set(directory)
        done = adopt(contributed, policies, clock=system_clock)
    beside: list[JsonValue] = [*left_out(directory)]
    door.answer({**_told(done.adopted), "changed": done.is_new, **policies.policies.versions(), "left_out": beside})


def show_command(door: CommandDoor) -> None:
    """Answer what is adopted. Raises ``NotFoundError`` if nothing is."""
    from artifactstore.pilots.testing_os.adopting import AdoptedPolicies, find_adopted

    with door.context() as context:
        contributed = recording(context).contributed()
        found = find_adopted(contributed)
        if found is None:
            raise NotFoundError(
                "no policies are adopted in this store", hint="artifactstore testing-os policies adopt DIR"
            )
        policies = AdoptedPolicies(contributed, found.package_id).everything()
    door.answer({**_told(found), **policies.versions()})


def _told(adopted: Adopted) -> dict[str, JsonValue]:
    from artifactstore.domain.instant import Instant
    from artifactstore.pilots.testing_os.record import instant_text_ms

    return {
        "package_id": adopted.package_id,
        "digest": adopted.digest,
        "adopted_at": instant_text_ms(Instant(adopted.adopted_at)),
        "adopted_by": adopted.adopted_by,
    }
