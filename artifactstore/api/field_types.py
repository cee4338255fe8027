"""Types of what stands in requests and answers: a digest, a size, a time, as the OpenAPI document says them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, JsonValue

from artifactstore.domain.retention import RetentionClass

# rules that the domain checks are said here too, for whoever reads the document, but not checked twice
_SLUG: dict[str, JsonValue] = {"pattern": "^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$"}
_CLASSES: dict[str, JsonValue] = {"enum": list(map(str, RetentionClass))}

Slug = Annotated[str, Field(json_schema_extra=_SLUG)]
Class = Annotated[str, Field(json_schema_extra=_CLASSES, examples=["summary-evidence"])]
Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"}, examples=["2027-01-31T00:00:00Z"])]
PRODUCER = Field(
    description="Who made the run: 1 to 64 of a-z 0-9 . _ -", examples=["ci"], max_length=64, json_schema_extra=_SLUG
)
PATH = Field(description="The file's logical path.", examples=["reports/report.txt"], max_length=1024)
Size = Annotated[int, Field(ge=0, le=2**53 - 1, description="Bytes.", examples=[6])]
Blake3 = Annotated[str, Field(pattern="^blake3:[0-9a-f]{64}$", examples=["blake3:" + "0" * 64])]
Sha256 = Annotated[str, Field(pattern="^sha256:[0-9a-f]{64}$", examples=["sha256:" + "0" * 64])]
Time = Annotated[str, Field(description="RFC 3339.", examples=["2027-01-31T00:00:00.000000Z"])]
Reason = Annotated[str, Field(min_length=1, max_length=2000, description="Why; it goes into the event log.")]
