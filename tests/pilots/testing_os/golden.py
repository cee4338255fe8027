"""The 647 golden cases of version 1.1.7 of the original, and a store of records that is a dictionary.

A case is a submission with policy, provenance, scenario definitions and what was stored before, and the complete
outcome that 1.1.7 gave. The store here is as simple as can be: what only a real one can show (two writers at once, a
crash between two steps, a rebuild over damaged files) no case shows either.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artifactstore.domain.instant import Instant, parse_instant
from artifactstore.pilots.testing_os.faults import ProvenanceFaultError
from artifactstore.pilots.testing_os.filing import UnsafePlaceError
from artifactstore.pilots.testing_os.formats import instant_ms
from artifactstore.pilots.testing_os.policy_files import load_policies
from artifactstore.pilots.testing_os.profiles import V1_1
from artifactstore.pilots.testing_os.provenance import rejecting_provenance, stub_provenance
from artifactstore.pilots.testing_os.scenarios import definition_of
from artifactstore.pilots.testing_os.submission import Received, parse_submission, receive
from artifactstore.pilots.testing_os.verifier import Status, Verification, verify

if TYPE_CHECKING:
    from collections.abc import Mapping

FIXTURES = Path(__file__).parents[2] / "fixtures" / "testing-os"
AS_OF = parse_instant("2026-03-20T00:00:00Z")


def golden_cases() -> list[dict[str, Any]]:
    with gzip.open(FIXTURES / "golden-1.1.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def base_submission() -> dict[str, Any]:
    """The submission of the first case, which is accepted."""
    return golden_cases()[0]["submission"]


def policy_texts() -> dict[str, Any]:
    return json.loads((FIXTURES / "policies-1.1.json").read_text())


def write_policies(directory: Path, name: str) -> Path:
    """A policy directory with the golden global policy and the one of this name for the golden repository."""
    texts = policy_texts()
    directory.mkdir(parents=True)
    (directory / "global-policy.yaml").write_text(texts["global"])
    if (text := texts["golden_yaml"][name]) is not None:
        repository = directory / "repos" / "mcp-tool-shop-org" / "golden.yaml"
        repository.parent.mkdir(parents=True)
        repository.write_text(text)
    return directory


def timing_out(_source: object, _ref: object) -> Any:
    raise ProvenanceFaultError("provenance: GitHub API timeout after 30000ms")


PROVENANCE = {"stub": stub_provenance, "reject": rejecting_provenance, "throw": timing_out}


@dataclass
class World:
    """A store of records, and the policies they are judged by."""

    policies: Path
    records: dict[str, dict[str, Any]] = field(default_factory=dict)

    def ingest(self, case: dict[str, Any], submission: Any) -> dict[str, Any]:
        """What 1.1.7 answers, as the cases have it; what it throws is ``{"threw": code and message}``."""
        document = receive(submission)
        try:
            if self.has(document):
                return {"record": None, "path": None, "written": False, "duplicate": True}
        except UnsafePlaceError as error:
            return {"threw": {"code": None, "message": str(error)}}
        found = self.verified(case, document)
        if found.unfilable is not None and found.verdict is not None:
            code = found.unfilable.code
            known = code if code == "RECORD_SCHEMA_INVALID" else None
            return {"threw": {"code": known, "message": found.unfilable.message}}
        if found.path is not None:
            self.records[found.path] = found.record
        return {
            "record": found.record,
            "path": found.path,
            "written": found.path is not None,
            "duplicate": False,
        }

    def has(self, document: Received) -> bool:
        """Whether a record is there under this id, accepted or rejected; asked only of what names all of its parts."""
        value = document.value
        if not isinstance(value, dict) or not value.get("run_id") or not value.get("repo"):
            return False
        if not isinstance(value.get("timing"), dict) or not value["timing"].get("finished_at"):
            return False
        try:
            place = V1_1.place_of(value)
        except UnsafePlaceError as error:
            if str(error) != "Invalid finished_at timestamp":
                raise
            return False  # the verifier says the same, or which format is violated
        return bool({place.path(rejected=False), place.path(rejected=True)} & self.records.keys())

    def verified(self, case: dict[str, Any], document: Received, instant: Instant = AS_OF) -> Verification:
        definitions = policy_texts()["scenarios"][case["scenarios"]]
        return verify(
            document,
            policies=load_policies(self.policies, document.value["repo"] if _has_repo(document) else None),
            scenarios=None if definitions is None else {k: definition_of(v) for k, v in definitions.items()},
            provenance=PROVENANCE[case["provenance"]],
            profile=V1_1,
            as_of=instant,
            verified_at=instant,
        )

    def latest(self) -> dict[str, Any]:
        """latest-by-repo.json over what is stored."""
        latest: dict[str, Any] = {}
        for path in sorted(self.records):
            record = self.records[path]
            if record["verification"]["status"] != Status.ACCEPTED:
                continue
            surfaces = latest.setdefault(record["repo"], {})
            for surface in dict.fromkeys(result["product_surface"] for result in record["scenario_results"]):
                entry = {
                    "run_id": record["run_id"],
                    "verified": record["overall_verdict"]["verified"],
                    "verification_status": "accepted",
                    "finished_at": record["timing"]["finished_at"],
                    "path": path,
                }
                known = surfaces.get(surface)
                if known is None or instant_ms(entry["finished_at"]) > instant_ms(known["finished_at"]):
                    surfaces[surface] = entry
        return latest

    def failing(self) -> list[dict[str, Any]]:
        """failing.json over what is stored."""
        return [
            {
                "repo": repo,
                "surface": surface,
                **{key: entry[key] for key in ("run_id", "verified", "finished_at", "path")},
            }
            for repo, surfaces in self.latest().items()
            for surface, entry in surfaces.items()
            if entry["verified"] != "pass"
        ]


def without_instant(record: dict[str, Any] | None) -> dict[str, Any] | None:
    """A record as the cases have it: when it was verified is left out."""
    if record is None:
        return None
    block = {key: value for key, value in record["verification"].items() if key != "verified_at"}
    return {**record, "verification": block}


def differing_records(answers: Mapping[str, Any]) -> dict[str, Any]:
    """What was told and what is answered, by case, where record, place or answer are not equal; not what was thrown."""
    differing = {}
    for name, (case, answer, *_) in answers.items():
        wanted = case["outcome"]
        if "threw" in wanted:
            continue
        told = {key: wanted[key] for key in ("record", "path", "written", "duplicate")}
        ours = {**answer, "record": without_instant(answer.get("record"))}
        if json.dumps(told) != json.dumps(ours):  # the order of keys counts
            differing[name] = (told, ours)
    return differing


def parsed(value: Any) -> Received:
    """A submission as it comes in, strictly read."""
    return parse_submission(json.dumps(value).encode())


def _has_repo(document: Received) -> bool:
    return isinstance(document.value, dict) and "repo" in document.value
