"""docs/guides/webhooks.md says what is there, and its snippets run."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from artifactstore.pilots.guide_board import state_hub
from artifactstore.webhooks import parse_webhooks
from artifactstore.webhooks.configuration import _KEYS
from artifactstore.webhooks.signing import key_of, signatures
from tests.webhook_receiver import OLD_SECRET, SECRET

GUIDE = (Path(__file__).parents[2] / "docs/guides/webhooks.md").read_text()


def snippets(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)


def first_cells(heading: str) -> set[str]:
    """Names in the first cells of the table below a heading."""
    below = GUIDE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    cells = [line.split("|")[1] for line in below.splitlines() if line.startswith("| `")]
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


@pytest.mark.parametrize("text", snippets("toml"))
def test_every_configuration_that_is_shown_is_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "ci.secrets").write_text(SECRET)

    webhooks = parse_webhooks(tomllib.loads(text), tmp_path)

    assert 1 == len(webhooks)
    for webhook in webhooks.values():
        if webhook.format == "guide-board.state-hub":
            state_hub.check_options(webhook.options)


def test_every_key_and_option_stands_in_the_guide() -> None:
    assert _KEYS == first_cells("The keys of a webhook")
    assert state_hub._OPTIONS == first_cells("State Hub")


def test_the_check_that_is_shown_tells_ours_from_others() -> None:
    (snippet,) = snippets("python")
    shown: dict[str, Any] = {}
    exec(snippet, shown)
    keys = [key for key in map(key_of, (OLD_SECRET, SECRET)) if key is not None]
    headers = {"webhook-id": "x", "webhook-timestamp": "7", "webhook-signature": signatures(keys, "x", 7, b"{}")}

    assert [True, True] == [shown["is_ours"](secret, headers, b"{}") for secret in (SECRET, OLD_SECRET)]
    assert not shown["is_ours"](SECRET, headers, b"{ }")
    assert not shown["is_ours"](SECRET, {**headers, "webhook-timestamp": "8"}, b"{}")
    assert not shown["is_ours"]("whsec_" + "A" * 32, headers, b"{}")
