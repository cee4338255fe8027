"""What a host's configuration lets plug-ins do."""

from __future__ import annotations

import pytest

from artifactstore.domain.capabilities import Capability, parse_capabilities
from artifactstore.errors import UsageError

INGEST, EMIT = Capability.INGEST, Capability.EMIT


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        (" ; ", {}),
        ("mailbox=ingest", {"mailbox": {INGEST}}),
        ("mailbox=ingest,emit;other=emit", {"mailbox": {INGEST, EMIT}, "other": {EMIT}}),
        (" mailbox = emit , ingest ;\n other = ingest ;", {"mailbox": {INGEST, EMIT}, "other": {INGEST}}),
        ("guide-board=", {"guide-board": set()}),
        ("guide-board=,", {"guide-board": set()}),
    ],
)
def test_each_plugin_is_granted_what_is_named_after_it(text: str, expected: dict[str, set[Capability]]) -> None:
    assert expected == parse_capabilities(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("mailbox", "each plug-in must be named once"),
        ("=ingest", "each plug-in must be named once"),
        ("mailbox=ingest;mailbox=emit", "each plug-in must be named once"),
        ("mailbox=ingest; mailbox =emit", "each plug-in must be named once"),
        ("mailbox=INGEST", "mailbox is given 'INGEST', which is no capability"),
        ("mailbox=ingest emit", "mailbox is given 'ingest emit', which is no capability"),
        ("mailbox=ingest,all", "mailbox is given 'all', which is no capability"),
        ("mailbox=source_write", "mailbox is given 'source_write', which is no capability"),
        ("mailbox=emit_envelopes,ingest", "mailbox is given 'emit_envelopes', which is no capability"),
        ("a=b=ingest", "a is given 'b=ingest', which is no capability"),
    ],
)
def test_what_grants_nothing_that_there_is_is_refused(text: str, problem: str) -> None:
    with pytest.raises(UsageError, match=f"^{problem}") as caught:
        parse_capabilities(text)

    assert caught.value.hint


@pytest.mark.parametrize("words", ["source_write,emit_envelopes", "emit_envelopes, source_write"])
def test_the_older_names_together_mean_ingest_and_warn(words: str) -> None:
    with pytest.warns(DeprecationWarning, match="of the plug-in mailbox is now called ingest"):
        granted = parse_capabilities(f"mailbox={words},emit")

    assert {"mailbox": {INGEST, EMIT}} == granted
