"""The console script: options that hold everywhere, and one way out for every error."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn, TextIO, cast

import typer

from artifactstore.cli.door import Door
from artifactstore.cli.exit_codes import DONE, INTERRUPTED, SYSTEM_FAILED, TERMINATED, exit_code_of
from artifactstore.errors import ArtifactStoreError, StorageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator


def main() -> NoReturn:
    """Run the command line and exit."""
    _read_names_as_utf8()
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGHUP, _terminate)
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line; its exit code."""
    sys.stderr = sys.stderr or _nowhere("w")
    door = Door(debug="--debug" in arguments)
    try:
        door, arguments = _door_from(arguments)
        _check_streams()
        with _warnings_said_by(door):
            code = _run(door, arguments)
        sys.stdout.flush()  # an answer that cannot be written is an error, too
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except _TerminatedError:
        return TERMINATED
    except (BrokenPipeError, SystemExit):  # Typer exits by itself where whoever read the answer has gone
        return _nobody_reads()
    except Exception as error:  # noqa: BLE001 - the last door: a person gets a sentence, not a trace
        ours = _as_ours(error)
        with suppress(OSError):  # where nothing can be said, the exit code still can
            door.report(ours)
        if door.debug:
            import traceback

            traceback.print_exception(error)
        return exit_code_of(ours)
    return code


class _TerminatedError(BaseException):
    """SIGTERM or SIGHUP: unwinds like Ctrl-C, so that what was begun is cleared away."""


def _terminate(*_: object) -> None:
    raise _TerminatedError


def _read_names_as_utf8() -> None:
    """File names are bytes that we read as UTF-8, whatever the locale says: the same run, the same digest."""
    if sys.getfilesystemencoding() != "utf-8":
        os.execv(sys.executable, [sys.executable, "-X", "utf8", "-m", "artifactstore", *sys.argv[1:]])  # noqa: S606 - ourselves


def _check_streams() -> None:
    if sys.stdout is None:
        raise UsageError("standard output is closed", hint="Answers are written there; nothing was done.")
    sys.stdin = sys.stdin or _nowhere("r")


def _nowhere(mode: str) -> TextIO:
    """A stream in place of one that was closed; the process closes it."""
    return cast("TextIO", os.fdopen(os.open(os.devnull, os.O_RDWR), mode))


def _nobody_reads() -> int:
    """Nobody is there to tell; and the interpreter must not try to flush what nobody takes."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    return SYSTEM_FAILED


class _UnexpectedError(ArtifactStoreError):
    code = "INTERNAL"
    default_hint = "This is a defect of artifactstore; --debug shows where."


def _run(door: Door, arguments: list[str]) -> int:
    import typer.main

    from artifactstore.cli.app import build_app

    command = typer.main.get_command(build_app(door))
    result = command.main(arguments or ["--help"], prog_name="artifactstore", standalone_mode=False, obj=door)
    return result if isinstance(result, int) else DONE


@contextmanager
def _warnings_said_by(door: Door) -> Iterator[None]:
    """Warnings are words of one line each; what is deprecated in a setting is among them: its author reads them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("default", category=DeprecationWarning, module=r"artifactstore\.")
        warnings.showwarning = lambda message, *_, **__: door.say(f"warning: {message}")
        yield


def _door_from(arguments: list[str]) -> tuple[Door, list[str]]:
    """Take the options that may stand anywhere before ``--``. Raises ``UsageError`` for one without its value."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    door, kept, ahead = Door(), list[str](), iter(arguments[:end])
    for argument in ahead:
        name, equals, value = argument.partition("=")
        if argument == "--debug":
            door.debug = True
        elif argument == "--quiet":
            door.quiet = True
        elif argument == "--no-progress":
            door.show_progress = False
        elif name == "--server":
            door.server = value if equals else next(ahead, "")
            _require_value(name, door.server, hint="Such as --server https://artifacts.example.org.")
        elif name == "--backend":
            door.backend = value if equals else next(ahead, "")
            _require_value(name, door.backend, hint="Such as --backend archive; the operator names the backends.")
        else:
            kept.append(argument)
            if _names_a_plugin_to_run(kept):
                return door, [*kept, *ahead, *arguments[end:]]
    return door, kept + arguments[end:]


def _names_a_plugin_to_run(words: list[str]) -> bool:
    """Whether all that follows is the plug-in's, whatever it is called."""
    return words[:2] == ["plugin", "run"] and len(words) > 2 and not words[-1].startswith("-")  # noqa: PLR2004


def _require_value(option: str, value: str, *, hint: str) -> None:
    if not value or value.startswith("-"):
        raise UsageError(f"{option} needs a value", hint=hint)


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
