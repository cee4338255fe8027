"""A set of policies: what of a directory is in it, what refuses it, and what its digest depends on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from blake3 import blake3

from artifactstore.errors import ConfigurationError, FileUnreadableError, LimitExceededError
from artifactstore.pilots.testing_os import policy_sets
from artifactstore.pilots.testing_os.policy_sets import left_out, read_policy_set
from tests.pilots.testing_os.golden import policy_texts

if TYPE_CHECKING:
    from pathlib import Path

OWN = 'policy_version: "2.0.0"\n'


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return written(tmp_path / "policies", {"repos/o/a.yaml": OWN, "repos/o/b.yaml": 'policy_version: "3.0.0"\n'})


def written(directory: Path, files: dict[str, str]) -> Path:
    """A directory with the golden global policy and these files."""
    for path, text in {"global-policy.yaml": policy_texts()["global"], **files}.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(text)
    return directory


def problems(directory: Path) -> dict[str, str]:
    with pytest.raises(ConfigurationError, match="these policies cannot be judged by") as caught:
        read_policy_set(directory)
    return {problem.where: problem.what for problem in caught.value.problems}


def test_a_set_is_every_policy_to_the_byte(directory: Path) -> None:
    found = read_policy_set(directory)

    assert {path: (directory / path).read_bytes() for path in found.files} == found.files
    assert ["global-policy.yaml", "repos/o/a.yaml", "repos/o/b.yaml"] == [*found.files]
    assert {"policy_version": "1.0.0", "repositories": {"o/a": "2.0.0", "o/b": "3.0.0"}} == found.policies.versions()


def test_the_digest_is_that_of_the_paths_and_the_bytes(directory: Path, tmp_path: Path) -> None:
    folders = {
        "same": {"repos/o/b.yaml": 'policy_version: "3.0.0"\n', "repos/o/a.yaml": OWN},
        "one": {"repos/o/a.yaml": OWN},
        "moved": {"repos/o/c.yaml": OWN},
        "with a comment": {"repos/o/a.yaml": f"# why\n{OWN}"},
        "none": {},
    }

    same, *others = [read_policy_set(written(tmp_path / name, files)).digest for name, files in folders.items()]

    assert read_policy_set(directory).digest == same
    assert 5 == len({same, *others})


def test_the_digest_can_be_made_by_anybody(directory: Path) -> None:
    found = read_policy_set(directory)

    digests = {path: f"blake3:{blake3(data).hexdigest()}" for path, data in found.files.items()}
    statement = json.dumps(digests, sort_keys=True, separators=(",", ":"))
    assert f"blake3:{blake3(statement.encode()).hexdigest()}" == str(found.digest)


def test_what_is_no_policy_is_left_out_and_told(directory: Path) -> None:
    before = read_policy_set(directory).digest
    (directory / ".git").mkdir()
    for name in ("README.md", "repos/stray.yaml", "repos/o/c.yml", "repos/o/a b.yaml"):
        (directory / name).write_text("repo: [")

    assert [".git/", "README.md", "repos/o/a b.yaml", "repos/o/c.yml", "repos/stray.yaml"] == left_out(directory)
    assert before == read_policy_set(directory).digest


def test_everything_that_is_wrong_is_said_at_once(directory: Path) -> None:
    (directory / "global-policy.yaml").write_text("policy_version: 1\ndefaults: 7\n")
    (directory / "repos/o/a.yaml").write_text("enforcement: { mode: exempt }\n")
    (directory / "repos/o/b.yaml").write_text("repo: [")
    (directory / "repos/o/c.yaml").write_text('repo: o/other\npolicy_version: "1.0.0"\n')

    found = problems(directory)

    assert {"global-policy.yaml/policy_version", "global-policy.yaml/defaults"} <= found.keys()
    assert found["repos/o/a.yaml"].startswith("schema-invalid")
    assert "repos/o/b.yaml" in found
    assert "it is the policy of o/other" == found["repos/o/c.yaml"]


@pytest.mark.parametrize("name", ["global-policy.yaml", "repos/o/a.yaml"])
def test_a_link_that_leaves_the_directory_is_refused(directory: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "outside.yaml").write_text(policy_texts()["global"])
    (directory / name).unlink()
    (directory / name).symlink_to(tmp_path / "outside.yaml")

    assert {name: "it is a link that does not stay inside"} == problems(directory)


def test_a_folder_that_leads_out_of_the_directory_is_refused(directory: Path, tmp_path: Path) -> None:
    written(tmp_path / "outside", {"repos/secret/r.yaml": OWN})
    (directory / "repos/secret").symlink_to(tmp_path / "outside/repos/secret", target_is_directory=True)

    assert {"repos/secret/r.yaml": "it is a link that does not stay inside"} == problems(directory)


def test_what_a_folder_outside_has_is_not_told(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.txt").write_text("x")
    (directory / "repos/elsewhere").symlink_to(tmp_path / "outside", target_is_directory=True)
    (directory / "repos/alias").symlink_to("o", target_is_directory=True)

    assert ["repos/elsewhere/"] == left_out(directory)
    assert {"repos/alias/a.yaml", "repos/alias/b.yaml"} < read_policy_set(directory).files.keys()


def test_a_link_within_the_directory_is_what_it_leads_to(directory: Path) -> None:
    (directory / "repos/o/c.yaml").symlink_to("a.yaml")

    assert OWN.encode() == read_policy_set(directory).files["repos/o/c.yaml"]


def test_without_a_global_policy_there_is_no_set(directory: Path, tmp_path: Path) -> None:
    (directory / "global-policy.yaml").unlink()

    assert {"global-policy.yaml": "is not there"} == problems(directory)
    with pytest.raises(FileUnreadableError):
        read_policy_set(tmp_path / "nowhere")


def test_a_value_that_no_digest_can_be_made_of_is_refused(directory: Path) -> None:
    (directory / "repos/o/a.yaml").write_text(
        f"{OWN}surfaces: {{cli: {{freshness: {{max_age_days: 1{'0' * 400}}}}}}}\n"
    )

    assert ["repos/o/a.yaml"] == [*problems(directory)]


def test_a_set_that_is_too_large_is_refused(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_sets, "MAX_BYTES", 100)

    with pytest.raises(LimitExceededError):
        read_policy_set(directory)
