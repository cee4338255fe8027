"""Plug-ins: list, run. What is listed is what this process has installed, whatever store the line names."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Annotated

import typer

from artifactstore.cli.door import door_of
from artifactstore.errors import ArtifactStoreError, PluginFailedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from artifactstore.config import Settings
    from artifactstore.domain.canonical import JsonValue
    from artifactstore.domain.vocabulary import Words
    from artifactstore.plugins.loaded import LoadedPlugin

    Document = dict[str, object]

app = typer.Typer(no_args_is_help=False, rich_markup_mode=None)

_USAGE_EXIT = 2
"""How argparse ends a process whose arguments it does not take."""


@app.command("list")
def list_(context: typer.Context) -> None:
    """List the plug-ins that are installed here: what they register, and what they are granted.

    "error" says why one cannot be used; the others are not affected. "runs" is whether `plugin run` takes it.
    """
    from artifactstore.config import Settings

    door_of(context).answer({"plugins": list(_installed(Settings.from_environment()))})


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def run(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="An installed plug-in.", show_default=False)],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="ARGS", help="The plug-in's own, options too.")
    ] = None,
) -> None:
    """Run a plug-in on the store. All that follows its name is the plug-in's; --server and the like stand before it.

    What it answers is printed as JSON; what it prints itself goes to standard error.

    Example: artifactstore plugin run folder-watcher ~/Maildir
    """
    from artifactstore.built_in import load_plugin

    door = door_of(context)
    loaded = load_plugin(name)
    run_it = loaded.plugin.run
    if run_it is None:
        raise UsageError(f"the plug-in {name!r} has nothing to run", hint="`artifactstore plugin list` shows which do.")
    with door.context(name) as plugin_context:
        answer = _guarded(name, lambda: run_it(plugin_context, tuple(arguments or ())))
    if answer is not None:
        door.answer(answer)


# what is installed


def _installed(settings: Settings) -> Iterator[Document]:
    """Each plug-in, and each entry point of others that claims the name of one of ours."""
    from artifactstore.built_in import ENTRY_POINTS, PLUGINS, installed_plugins, offers

    others = offers()
    for name in installed_plugins():
        claims = [offer for offer in others if offer.entry_point.name == name]
        is_ours = name in ENTRY_POINTS[PLUGINS]
        if is_ours or not claims:
            yield _document(name, settings, distribution=None, version=None)
        for claim in claims:
            refusal = _claimed(name, claim.distribution) if is_ours else None
            yield _document(name, settings, distribution=claim.distribution, version=claim.version, refusal=refusal)


def _claimed(name: str, distribution: str) -> ArtifactStoreError:
    return PluginFailedError(f"the plug-in {name!r} of {distribution} is not used: the name is one of artifactstore's")


def _document(
    name: str,
    settings: Settings,
    *,
    distribution: str | None,
    version: str | None,
    refusal: ArtifactStoreError | None = None,
) -> Document:
    """Everything that one plug-in says of itself, or the error that keeps it from that."""
    from artifactstore.built_in import load_plugin

    said: Document = {}
    error = refusal
    try:
        if refusal is None:
            loaded = load_plugin(name)
            distribution, version = loaded.distribution, loaded.version
            said = _said(loaded)
    except ArtifactStoreError as found:
        error = found
    return {
        "name": name,
        "distribution": distribution,
        "version": version,
        **said,
        "capabilities": [] if refusal else _granted(name, settings),
        "error": None if error is None else {"code": error.code, "message": error.message},
    }


def _granted(name: str, settings: Settings) -> list[str]:
    from artifactstore.built_in import DEFAULT_CAPABILITIES

    return sorted({**DEFAULT_CAPABILITIES, **settings.plugin_capabilities}.get(name, ()))


def _said(loaded: LoadedPlugin) -> Document:
    """What a plug-in says of itself. Raises ``PluginFailedError`` if it fails to."""
    from artifactstore.built_in import words_of
    from artifactstore.subscribers import checked_listeners, checked_webhook_formats

    plugin = loaded.plugin
    words = words_of(loaded)
    try:
        said: Document = {
            "contract_version": plugin.contract_version,
            "summary": plugin.summary,
            "words": _words(words),
            "listeners": [
                {"name": f"{plugin.name}.{each.name}", "event_types": [*each.event_types]}
                for each in checked_listeners(loaded)
            ],
            "webhook_formats": [f"{plugin.name}.{each.name}" for each in checked_webhook_formats(loaded)],
            "schemas": sorted(plugin.schemas()),
            "runs": plugin.run is not None,
        }
        json.dumps(said, allow_nan=False)
    except ArtifactStoreError:
        raise
    except (Exception, SystemExit) as error:
        raise PluginFailedError(
            f"the plug-in {plugin.name!r} failed to describe itself: {type(error).__name__}: {error}"
        ) from error
    return said


def _words(words: Words) -> Document:
    return {
        "location_kinds": [{"name": kind.name, "summary": kind.summary} for kind in words.location_kinds],
        "identifier_kinds": [
            {"name": kind.name, "summary": kind.summary, "scoping": kind.scoping.value}
            for kind in words.identifier_kinds
        ],
        "roles": [*words.roles],
        "trust_levels": [*words.trust_levels],
    }


# running


def _guarded(name: str, run_it: Callable[[], Mapping[str, JsonValue] | None]) -> dict[str, JsonValue] | None:
    """What a plug-in answers; None if it only helped. Raises its ``ArtifactStoreError``, or ``PluginFailedError``.

    It may end with ``SystemExit`` as argparse does: after ``--help``, or for arguments that it does not take.
    """
    try:
        with redirect_stdout(sys.stderr):
            answer = dict(run_it() or {})
            json.dumps(answer, allow_nan=False)
    except ArtifactStoreError:
        raise
    except SystemExit as end:
        if not end.code:
            return None
        if end.code == _USAGE_EXIT:
            raise UsageError(f"the plug-in {name!r} does not take these arguments") from end
        raise _failed(name, f"it ended with {end.code!r}") from end
    except Exception as error:
        raise _failed(name, f"{type(error).__name__}: {error}") from error
    return answer


def _failed(name: str, how: str) -> PluginFailedError:
    return PluginFailedError(
        f"the plug-in {name!r} failed: {how}",
        hint="This is a defect of the plug-in; what it had recorded until then is kept. --debug shows where.",
    )
