"""The plug-in ``folder-watcher``: each mail message of a folder is an observation, however often one looks."""

from __future__ import annotations

import argparse
import os
import re
import time
import unicodedata
from datetime import UTC, datetime
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.parser import BytesHeaderParser
from email.utils import getaddresses, parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING

from artifactstore import plugins

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from email.message import Message

ROLES = {"From": "sender", "To": "recipient", "Cc": "recipient"}
_MESSAGE_ID = re.compile(r"[!-;=?-~]{1,500}")
_ADDRESS = re.compile(r"[^@\s]{1,64}@[^@\s]{1,255}")


def run(context: plugins.PluginContext, arguments: Sequence[str]) -> Mapping[str, plugins.JsonValue]:
    """Record what is new. A message that cannot be recorded is named and keeps no other from being recorded."""
    parser = argparse.ArgumentParser("artifactstore plugin run folder-watcher", description=PLUGIN.summary)
    parser.add_argument("folder", type=Path, help="a Maildir, or any folder with *.eml files")
    parser.add_argument("--settle", type=float, default=5.0, metavar="SECONDS", help="how long an *.eml must rest")
    given = parser.parse_args(arguments)
    if not given.folder.is_dir():
        raise plugins.UsageError(f"{given.folder} is no folder")
    seen, new, skipped = 0, 0, list[plugins.JsonValue]()
    for path in messages(given.folder.resolve()):
        seen += 1
        try:
            new += record(context, path, settle_s=given.settle).envelope.was_created
        except (plugins.InvalidRequestError, plugins.ConflictError, OSError) as error:  # what else fails ends the run
            problems = (f"{where} {what}" for where, what in getattr(error, "problems", ()))
            skipped.append({"file": str(path), "why": "; ".join((str(error), *problems))})
    return {"seen": seen, "new": new, "skipped": skipped}


def messages(folder: Path) -> Iterator[Path]:
    """Every ``*.eml``, and what a Maildir has in ``new`` and ``cur``; what is in its ``tmp`` is not complete."""
    for path in sorted(folder.rglob("*")):
        is_delivered = path.parent.name in {"new", "cur"} and path.parent.with_name("tmp").is_dir()
        if (is_delivered or path.suffix == ".eml") and path.parent.name != "tmp" and path.is_file():
            yield path


def record(context: plugins.PluginContext, path: Path, *, settle_s: float) -> plugins.IngestResult:
    """A small message is the payload; of a large one that is the headers, and a package has the whole.

    Of a message that is half written, the other half would never be recorded: it would be the same observation.
    """
    modified_at = path.stat().st_mtime
    if path.suffix == ".eml" and time.time() - modified_at < settle_s:
        raise plugins.InvalidRequestError(f"changed less than {settle_s:g} s ago: the next run takes it")
    limit = context.max_payload_bytes
    with path.open("rb") as file:
        payload = file.read(limit + 1)
    message = BytesHeaderParser().parsebytes(payload)
    source, sent_at = source_of(message, path), date_of(message)
    is_large = len(payload) > limit
    said = re.split(rb"\r?\n\r?\n", payload, maxsplit=1)[0][:limit] if is_large else payload
    with plugins.DirectoryTree(path.parent) as tree:  # which sees when a file changes while it is read
        return context.ingest(
            source=source,
            envelope=plugins.EnvelopeInput("filesystem", said, sent_at or datetime.fromtimestamp(modified_at, UTC)),
            parties=parties_of(message),
            package=package_of(tree.file(path.name), source) if is_large else None,
        )


def package_of(whole: plugins.FileSource | None, source: plugins.SourceInput) -> plugins.PackageDraft:
    """The whole message. With another content under the same Message-ID it is refused, and skipped."""
    if whole is None:
        raise plugins.InvalidRequestError("it is gone")
    files = (plugins.FileDraft("message.eml", whole, "message", "message/rfc822"),)
    return plugins.PackageDraft("folder-watcher", files, plugins.RetentionClass.RAW_EVIDENCE, source.path_id)


def source_of(message: Message, path: Path) -> plugins.SourceInput:
    """The Message-ID, which stays when the file is moved or renamed; without one, the file."""
    message_id = bare(str(message.get("Message-ID", "")))
    kind, path_id = ("file", str(path)) if id_problem(message_id) else ("folder-watcher.message", message_id)
    return plugins.SourceInput(kind, path_id, retrieval=plugins.Retrieval("message/rfc822", subject_of(message)))


def subject_of(message: Message) -> str | None:
    """As a person reads it; None if it cannot be shown."""
    try:
        text = " ".join(str(make_header(decode_header(message.get("Subject", "")))).split())
    except (HeaderParseError, LookupError, ValueError):
        return None
    return unicodedata.normalize("NFC", text)[:500].strip() or None if text.isprintable() else None


def date_of(message: Message) -> datetime | None:
    """When it was sent; None if that is not said, or not with an offset from UTC (-0000 is UTC, RFC 5322)."""
    text = str(message.get("Date", "")).strip()
    try:
        moment = parsedate_to_datetime(text)
    except (OverflowError, ValueError):
        return None
    return moment.replace(tzinfo=UTC) if text.endswith("-0000") else moment if moment.tzinfo else None


def parties_of(message: Message) -> list[plugins.PartyInput]:
    """Who is named by an address. What is no address is left out: an observation may have no parties."""
    return [
        plugins.PartyInput("email", unicodedata.normalize("NFC", address), role, "claimed")
        for header, role in ROLES.items()
        for _, address in getaddresses([str(value) for value in message.get_all(header, [])])
        if _ADDRESS.fullmatch(address) and address.isprintable()
    ]


def note(notice: plugins.Notice, _: plugins.PluginContext) -> None:
    """A line in the journal. A notice may come twice: the number of its event says so."""
    if notice.actor.startswith("plugin:folder-watcher@"):
        with Path(os.environ["FOLDER_WATCHER_JOURNAL"]).open("a", encoding="utf-8") as journal:
            journal.write(f"{notice.seq} {notice.at:%Y-%m-%dT%H:%M:%SZ} {notice.subject}\n")


def bare(text: str) -> str:
    """``<abc@example.org>`` and ``abc@example.org`` are one message."""
    return text.strip().removeprefix("<").removesuffix(">")


def id_problem(text: str) -> str | None:
    """The store asks this of every path id of the kind, whoever hands it in."""
    return None if _MESSAGE_ID.fullmatch(text) else "must be a Message-ID such as abc@example.org"


MESSAGE = plugins.LocationKind("folder-watcher.message", "A mail message, by its Message-ID.", bare, id_problem)
JOURNAL = plugins.Listener("journal", ("v1.core.ingested",), note, from_the_start=True)
PLUGIN = plugins.Plugin(
    name="folder-watcher",
    summary="Mail of a folder, message by message.",
    words=lambda: plugins.Words(location_kinds=(MESSAGE,)),
    listeners=lambda: (JOURNAL,) if "FOLDER_WATCHER_JOURNAL" in os.environ else (),
    run=run,
)
