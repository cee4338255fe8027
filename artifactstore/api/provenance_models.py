"""Observations in requests and answers, as the OpenAPI document says them.

What a member may hold is the contract's to say, for in-process plug-ins and callers alike: ``domain.observation``
checks it. Here is only which members there are; anything else is refused, who makes the request above all.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from artifactstore.api import models
from artifactstore.api.field_types import PRODUCER, Blake3, Moment, Slug, Time

Base64 = Annotated[str, Field(json_schema_extra={"contentEncoding": "base64"}, examples=["eyJydW4iOiAxfQ=="])]
Id = Annotated[str, Field(pattern="^[0-9a-f]{64}$", examples=["0" * 64])]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


# requests


class DeclaredPlugin(_Request):
    """What observes, as the caller declares it; who declares it, the token says."""

    name: Slug = Field(examples=["ci-reporter"])
    version: str | None = Field(default=None, max_length=512, examples=["2.1"])
    contract_version: str = Field(
        default="1", max_length=512, description="Of what it says; raised to record the same observations anew."
    )


class SourceRetrieval(_Request):
    """What is to be known to look at a source again."""

    content_type: str | None = Field(default=None, examples=["application/json"])
    display_name: str | None = None


class SourceSaid(_Request):
    """Where something was observed."""

    location_kind: str = Field(description="A registered kind.", examples=["file"])
    path_id: str = Field(description="Which one of that kind.", examples=["/srv/ci/builds/1234"])
    owner_host_id: str | None = None
    retrieval: SourceRetrieval = Field(default_factory=SourceRetrieval)
    metadata: dict[str, Any] | None = None


class EnvelopeSaid(_Request):
    """One observation of the source."""

    transport: Slug = Field(description="How it came.", examples=["webhook"])
    raw_payload: Base64
    received_at: Moment


class PartySaid(_Request):
    """Who took part."""

    identifier_kind: str = Field(description="A registered kind.", examples=["email"])
    identifier_value: str = Field(examples=["jane@example.org"])
    role: str = Field(description="A registered role.", examples=["author"])
    trust: str = Field(description="A registered level of trust.", examples=["claimed"])
    identifier_scope: str | None = Field(default=None, description="Within what the value names somebody.")


class Observing(_Request):
    """An observation to record."""

    plugin: DeclaredPlugin
    source: SourceSaid
    envelope: EnvelopeSaid
    parties: list[PartySaid] = Field(default_factory=list)


# answers


class Recorded(_Answer):
    """The id, and whether the request recorded it. Of a source: whether you had observed it before."""

    id: Id
    was_created: bool


class RecordedPackage(_Answer):
    """The package that was observed."""

    id: str
    manifest_digest: Blake3
    was_created: bool


class Ingested(_Answer):
    """What became of an observation."""

    source: Recorded
    envelope: Recorded
    package: RecordedPackage | None


class FinalReceipt(models.Receipt):
    """The receipt; ``source`` and ``envelope`` are there if an observation was given."""

    source: Recorded | None = None
    envelope: Recorded | None = None


class PluginNamed(_Answer):
    """What observed; ``declared`` if its name is only what a caller said."""

    name: str
    version: str | None
    contract_version: str
    declared: bool


class RetrievalSaid(_Answer):
    """What is to be known to look at the source again."""

    content_type: str | None
    display_name: str | None


class Source(_Answer):
    """A source. All but its kind and path is null for a caller who does not read everything."""

    id: Id
    location_kind: str
    path_id: str
    owner_host_id: str | None
    retrieval: RetrievalSaid | None
    metadata: dict[str, Any] | None
    plugin: PluginNamed | None
    recorded_by: str | None
    recorded_at: Time | None


class Place(_Answer):
    """A source in short.

    ``display_name`` is null for a caller who does not read everything, and where another witness has said it.
    """

    id: Id
    location_kind: str
    path_id: str
    display_name: str | None


class Party(_Answer):
    """Who took part."""

    identifier_kind: str
    identifier_scope: str | None
    identifier_value: str
    role: str
    trust: str


class _Witnessed(_Answer):
    plugin: PluginNamed
    recorded_by: str
    recorded_at: Time
    parties: list[Party]
    more_parties: bool


class Envelope(_Witnessed):
    """One observation of a source, without its payload."""

    id: Id
    source: Place
    transport: str
    received_at: Time
    payload_bytes: int


class EnvelopePage(_Answer):
    """A page of envelopes in the order they were recorded."""

    envelopes: list[Envelope]
    next_after: Id | None


class ObservedPackage(_Answer):
    """A package that an envelope observed."""

    package_id: str
    producer: str = PRODUCER


class EnvelopeDetails(Envelope):
    """An envelope with its payload and the packages it observed: of those you may read, the first 100."""

    raw_payload: Base64
    packages: list[ObservedPackage]
    more_packages: bool


class Observation(_Witnessed):
    """Where a package was observed; ``observed_by`` said so of this package, ``recorded_by`` recorded the envelope."""

    class InShort(_Answer):
        """The envelope in short."""

        id: Id
        transport: str
        received_at: Time

    source: Place
    envelope: InShort
    observed_by: str
    observed_at: Time


class ObservationPage(_Answer):
    """A page of a package's observations in the order of their envelopes."""

    observations: list[Observation]
    next_after: Id | None


class Deletion(_Answer):
    """The tombstone of a package that was deleted."""

    deleted_at: Time
    deleted_by: str
    reason: str
    rule: str
    plan_digest: Blake3


class PackageDetails(models.Package):
    """A package with its metadata, its holds, and the first 20 observations of it."""

    metadata: dict[str, Any] | None
    holds: list[models.Hold]
    pin: models.Pin | None
    deletion: Deletion | None
    usage: models.PackageUsage | None = Field(description="Null for whoever may not read everything.")
    observations: list[Observation]
    more_observations: bool
