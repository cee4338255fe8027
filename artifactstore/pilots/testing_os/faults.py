"""The errors of this pilot that are no rejections: nothing is recorded when one is raised."""

from __future__ import annotations

from artifactstore.errors import InvalidRequestError, Problem, ServiceError


class SubmissionInvalidError(InvalidRequestError):
    """Bytes that are not one JSON document, or one that cannot be kept: too deep, or text that is not Unicode."""

    code = "SUBMISSION_INVALID"
    default_hint = "Send one submission as UTF-8 JSON; docs/pilots/testing-os.md has an example."


class YamlInvalidError(InvalidRequestError):
    """Text that is no YAML, or YAML that is not read here."""

    code = "YAML_INVALID"
    default_hint = "YAML is read as version 1.2: yes and on are text, a date needs quotes, a key stands once."


class RecordUnfilableError(InvalidRequestError):
    """A submission whose record cannot be kept, where profile 1.1 throws: ``reason`` says as which of its errors."""

    code = "RECORD_UNFILABLE"
    default_hint = "Nothing was recorded. Mend the submission; its run id is not used up."

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message, problems=(Problem("reason", reason),))
        self.reason = reason


class ProvenanceFaultError(ServiceError):
    """Whether the source run exists could not be found out, and asking again would not help."""

    code = "PROVENANCE_FAULT"
    default_hint = "Nothing was recorded. Check the token and its rights, then send the submission again."


class ProvenanceUnavailableError(ProvenanceFaultError):
    """The same because of a failure that passes: a time-out, too many requests, an outage."""

    code = "PROVENANCE_UNAVAILABLE"
    retryable = True
    default_hint = "Nothing was recorded. Send the submission again a little later."
