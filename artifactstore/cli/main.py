"""The console script: options that hold everywhere, and one way out for every error."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import NoReturn

import typer

from artifactstore.cli.door import Door
from artifactstore.cli.exit_codes import INTERRUPTED, SYSTEM_FAILED, exit_code_of
from artifactstore.errors import ArtifactStoreError, StorageError, UsageError


def main() -> NoReturn:
    """Run the command line and exit."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line; its exit code."""
    door, arguments = _door_from(arguments)
    try:
        code = _run(door, arguments)
        sys.stdout.flush()  # an answer that cannot be written is an error, too
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # whoever read the answer has gone; there is nobody to tell
        return SYSTEM_FAILED
    except Exception as error:  # noqa: BLE001 - the last door: a person gets a sentence, not a trace
        ours = _as_ours(error)
        with suppress(OSError):  # where nothing can be said, the exit code still can
            door.report(ours)
        if door.debug:
            import traceback

            traceback.print_exception(error)
        return exit_code_of(ours)
    return code


class _UnexpectedError(ArtifactStoreError):
    code = "INTERNAL"
    default_hint = "This is a defect of artifactstore; --debug shows where."


def _run(door: Door, arguments: list[str]) -> int:
    import typer.main

    from artifactstore.cli.app import build_app

    command = typer.main.get_command(build_app(door))
    result = command.main(arguments or ["--help"], prog_name="artifactstore", standalone_mode=False, obj=door)
    return result if isinstance(result, int) else 0


def _door_from(arguments: list[str]) -> tuple[Door, list[str]]:
    """Take the options that may stand anywhere before ``--``."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    here, rest = arguments[:end], arguments[end:]
    door = Door(debug="--debug" in here, quiet="--quiet" in here, show_progress="--no-progress" not in here)
    return door, [argument for argument in here if argument not in {"--debug", "--quiet", "--no-progress"}] + rest


def _as_ours(error: Exception) -> ArtifactStoreError:
    if isinstance(error, ArtifactStoreError):
        return error
    if isinstance(error, typer.TyperException):
        message: str = getattr(error, "format_message", error.__str__)()
        context = getattr(error, "ctx", None)
        return UsageError(message, hint=f"`{context.command_path if context else 'artifactstore'} --help` shows how.")
    if isinstance(error, OSError):  # the adapters translate their own; what is left is the answer's as a rule
        what = "the answer could not be written" if error.filename is None else f"{error.filename} cannot be used"
        return StorageError(
            f"{what}: {error.strerror or error}",
            hint="What was asked for may be done; the same command answers again.",
        )
    if isinstance(error, UnicodeEncodeError) and "surrogates" in error.reason:
        return UsageError("an argument is not valid UTF-8", hint="Only paths of files may have such names.")
    return _UnexpectedError(f"{type(error).__name__}: {error}")
