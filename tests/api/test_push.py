"""The thinnest whole push: open, send, finalize, read back."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.service import Server


def test_a_push_of_small_files_is_three_requests(server: Server) -> None:
    opened = server.ask("POST", "/packages", token="writer", json_body={"producer": "p", "external_id": "three"})
    package_id = opened.json["package_id"]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.txt", "one")
        archive.writestr("b/c.txt", "two")

    sent = server.ask(
        "POST",
        f"/packages/{package_id}/packs",
        token="writer",
        headers={"Content-Type": "application/zip"},
        body=buffer.getvalue(),
    )
    receipt = server.ask("POST", f"/packages/{package_id}/finalize", token="writer")

    assert (201, 200, 200) == (opened.status, sent.status, receipt.status)
    assert 2 == receipt.json["file_count"]
    assert b"two" == server.ask("GET", f"/packages/{package_id}/files/b/c.txt", token="reader").body
