"""``artifactstore testing-os``, as a process: exit codes, the answer, the stage log, and the tree."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.pilots.testing_os.command import AS_OF, RECORDS, Command, encoded
from tests.pilots.testing_os.judging import REPO
from tests.service import clean_environment
from tests.support import tree_contents

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path)


def stages(stderr: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stderr.splitlines() if line.startswith("{")]


def test_an_accepted_submission_is_answered_recorded_and_in_the_tree(command: Command) -> None:
    code, answer, stderr = command.ingest(given=encoded({"/run_id": "r1"}))

    package_id = answer.pop("package_id")
    assert 0 == code
    assert {
        "status": "accepted", "run_id": "r1", "verdict": "pass", "path": str(command.root / RECORDS / "run-r1.json"),
        "written": True, "rejection_reasons": [], "indexes_rebuilt": True,
    } == answer  # fmt: skip
    assert {f"{RECORDS}/run-r1.json", *(f"indexes/{name}.json" for name in ("latest-by-repo", "failing", "stale"))} == {
        *command.tree()
    }
    assert [*json.loads(command.tree()["indexes/latest-by-repo.json"])] == [REPO]
    logged = stages(stderr)
    assert {"ts", "component", "stage", "correlation_id", "submission_id"} <= logged[0].keys()
    assert "accepted" == command("explain", package_id)[1]["status"]


def test_a_rejected_one_exits_1_and_a_duplicate_0(command: Command) -> None:
    bad = encoded({"/policy_version": "1.0.0"})

    rejected = command.ingest(given=bad)
    duplicate = command.ingest(given=bad)

    assert (1, "rejected") == (rejected[0], rejected[1]["status"])
    assert [f"records/_rejected/{REPO}"] == [
        path[: len(f"records/_rejected/{REPO}")] for path in command.tree() if "run-" in path
    ]
    assert (0, "duplicate") == (duplicate[0], duplicate[1]["status"])
    assert {"status", "run_id", "package_id", "indexes_rebuilt"} == duplicate[1].keys()


def test_many_at_once_are_answered_together_and_a_mixture_exits_3(command: Command, tmp_path: Path) -> None:
    lines = [
        encoded({"/run_id": "a"}),
        b"",
        encoded({"/run_id": "b", "/policy_version": "1.0.0"}),
        b"{",
        encoded({"/run_id": "a"}),
    ]
    (tmp_path / "feed.ndjson").write_bytes(b"\n".join(lines))

    code, answer, _ = command.ingest("--payload", str(tmp_path / "feed.ndjson"))
    again = command.ingest("--ndjson", given=lines[0] + b"\n" + lines[0])

    assert 3 == code
    assert ["accepted", "rejected", "error", "duplicate"] == [each["status"] for each in answer["results"]]
    assert "SUBMISSION_INVALID" == answer["results"][2]["error"]["code"]
    assert 2 == len(answer["persisted_records"])
    assert ["b"] == [each["run_id"] for each in answer["rejected"]]
    assert (0, False) == (again[0], again[1]["indexes_rebuilt"])


def test_a_directory_is_read_in_the_order_of_its_names(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "incoming"
    folder.mkdir()
    for name in ("b", "a"):
        (folder / f"{name}.json").write_bytes(encoded({"/run_id": name}))
    (folder / "notes.txt").write_text("no submission")

    code, answer, _ = command.ingest("--payload", str(folder))

    assert (0, ["a", "b"]) == (code, [each["run_id"] for each in answer["results"]])


@pytest.mark.parametrize(
    ("payload", "message"),
    [("", "--payload names nothing"), ('{"run_id": "a"}', "is JSON"), (" [1]", "is JSON")],
    ids=["empty", "an object", "a list"],
)
def test_a_payload_that_is_no_name_is_the_callers_error(command: Command, payload: str, message: str) -> None:
    code, answer, stderr = command.ingest("--payload", payload)

    assert (1, None) == (code, answer)
    assert message in stderr
    assert {} == command.tree()


def test_files_that_cannot_be_read_do_not_keep_others_from_it(command: Command, tmp_path: Path) -> None:
    (tmp_path / "good.json").write_bytes(encoded({"/run_id": "a"}))
    (tmp_path / "spool").mkdir()
    named = ["good.json", "nowhere.ndjson", "nowhere.json", "spool"]

    code, answer, _ = command.ingest(*(word for name in named for word in ("--payload", str(tmp_path / name))))

    assert 3 == code
    assert ["accepted", "error", "error", "error"] == [each["status"] for each in answer["results"]]
    assert {"FILE_UNREADABLE"} == {each["error"]["code"] for each in answer["results"][1:]}
    assert "no .json" in answer["results"][3]["error"]["message"]


def test_a_line_that_is_too_long_is_one_error(command: Command, tmp_path: Path) -> None:
    long = b" " * (8 * 2**20 + 1) + encoded({"/run_id": "hidden"})
    lines = b"\r\n".join([encoded({"/run_id": "a"}), long, encoded({"/run_id": "b"})])
    (tmp_path / "feed.ndjson").write_bytes(lines)

    from_file = command.ingest("--payload", str(tmp_path / "feed.ndjson"))
    from_pipe = command.ingest("--ndjson", given=lines)

    for (code, answer, _), wanted in ((from_file, "accepted"), (from_pipe, "duplicate")):
        assert 3 == code
        assert [wanted, "error", wanted] == [each["status"] for each in answer["results"]]
        assert "LIMIT_EXCEEDED" == answer["results"][1]["error"]["code"]
        assert answer["results"][1]["where"].endswith("line 2")


def test_what_comes_through_a_pipe_is_recorded_before_the_pipe_ends(command: Command) -> None:
    with command.started("ingest", "--ndjson", "--repo-root", str(command.root), "--provenance", "stub", *AS_OF) as run:
        assert run.stdin is not None
        assert run.stderr is not None
        run.stdin.write(encoded({"/run_id": "a"}) + b"\n")
        run.stdin.flush()
        while b"persist_complete" not in (line := run.stderr.readline()):
            assert line

        assert ["a"] == [each["run_id"] for each in command("history", REPO)[1]["records"]]
        answer, _ = run.communicate(timeout=60)

    assert (0, "accepted") == (run.returncode, json.loads(answer)["results"][0]["status"])


def test_a_tree_that_cannot_be_written_is_told_beside_the_verdict(command: Command) -> None:
    (command.root / "records").write_text("in the way")

    code, answer, stderr = command.ingest(given=encoded({"/policy_version": "1.0.0"}))

    assert (3, "rejected", False) == (code, answer["status"], answer["indexes_rebuilt"])
    assert "DESTINATION_INVALID" == answer["export_error"]["code"]
    assert "Remove it." == answer["export_error"]["hint"]
    assert "rebuild_indexes" == stages(stderr)[-1]["failed_stage"]


def test_what_has_a_records_name_is_told_beside_the_verdict(command: Command) -> None:
    (command.root / RECORDS / "run-a.json").mkdir(parents=True)

    code, answer, _ = command.ingest(given=encoded({"/run_id": "a"}))

    assert (3, "accepted", [f"{RECORDS}/run-a.json"]) == (code, answer["status"], answer["records_differing"])


def test_a_tree_of_another_store_is_not_written_to(command: Command, tmp_path: Path) -> None:
    command.ingest(given=encoded({"/run_id": "a"}))
    before = command.tree()
    command.home = tmp_path / "forgotten"

    code, answer, stderr = command.ingest(given=encoded({"/run_id": "b"}))
    exported = command("export", "--repo-root", str(command.root))

    assert (1, None, 1) == (code, answer, exported[0])
    assert "error: TREE_FOREIGN:" in stderr
    assert "testing-os import" in stderr
    assert before == command.tree()
    assert [] == command("history", REPO)[1]["records"]


def test_the_answer_to_one_submission_is_one_line(command: Command) -> None:
    for arguments in ((), ("--verify-only",)):
        printed = command.run(
            "ingest", "--repo-root", str(command.root), "--provenance", "stub", *AS_OF, *arguments, given=encoded()
        ).stdout

        assert printed.endswith(b"}\n")
        assert 1 == printed.count(b"\n")


def test_what_fails_is_in_the_log_also_if_nothing_is_recorded(command: Command) -> None:
    for arguments in ((), ("--ndjson",), ("--verify-only",), ("--ndjson", "--verify-only")):
        said = stages(command.ingest(*arguments, given=b"{")[2])

        assert ["error"] == [line["stage"] for line in said if line["stage"] != "dispatch_received"]


def test_what_is_no_record_of_ours_is_not_explained(command: Command) -> None:
    command("policies", "adopt", str(command.root / "policies"))
    package_id = command("policies", "show")[1]["package_id"]

    code, answer, stderr = command("explain", package_id)

    assert (1, None) == (code, answer)
    assert "is no record of this pilot" in stderr


def test_an_imported_record_is_explained_by_what_it_says(command: Command, tmp_path: Path) -> None:
    command.ingest(given=encoded({"/run_id": "a"}))
    command.home = tmp_path / "other"
    command("import", str(command.root))
    (record,) = command("history", REPO)[1]["records"]

    code, answer, _ = command("explain", record["package_id"])

    assert (0, "imported", "accepted") == (code, answer["profile"], answer["verification"]["status"])


def test_a_tree_that_was_lost_is_made_good_by_the_duplicate(command: Command) -> None:
    command.ingest(given=encoded({"/run_id": "r1"}))
    before = command.tree()
    for path in before:
        (command.root / path).unlink()

    code, answer, _ = command.ingest(given=encoded({"/run_id": "r1"}))

    assert (0, "duplicate", True) == (code, answer["status"], answer["indexes_rebuilt"])
    assert before == command.tree()


def test_export_writes_everything_and_a_second_one_nothing(command: Command, tmp_path: Path) -> None:
    for name in ("a", "b"):
        command.ingest(given=encoded({"/run_id": name}))
    (tmp_path / "other").mkdir()

    first = command("export", "--repo-root", str(tmp_path / "other"), *AS_OF)
    second = command("export", "--repo-root", str(tmp_path / "other"), *AS_OF)

    assert (0, 2, True) == (first[0], first[1]["records_written"], first[1]["indexes_rebuilt"])
    assert (0, 0, 2, False) == (
        second[0],
        *(second[1][key] for key in ("records_written", "records_present", "indexes_rebuilt")),
    )
    assert command.tree() == tree_contents(tmp_path / "other")


def test_verify_only_records_nothing(command: Command) -> None:
    code, answer, _ = command.ingest("--verify-only", given=encoded({"/run_id": "r1"}))

    assert (0, {
        "status": "accepted", "run_id": "r1", "verdict": "pass",
        "would_persist_to": str(command.root / RECORDS / "run-r1.json"),
        "verify_only": True, "rejection_reasons": [],
    }) == (code, answer)  # fmt: skip
    assert {} == command.tree()
    assert "accepted" == command.ingest(given=encoded({"/run_id": "r1"}))[1]["status"]


def test_verify_only_of_many_judges_the_others_where_one_is_no_json(command: Command) -> None:
    lines = [encoded({"/run_id": "a"}), b"{", encoded({"/run_id": "b", "/policy_version": "1.0.0"})]

    code, answer, _ = command.ingest("--verify-only", "--ndjson", given=b"\n".join(lines))

    assert (3, ["accepted", "error", "rejected"]) == (code, [each["status"] for each in answer["results"]])
    assert ("standard input, line 2", "SUBMISSION_INVALID") == (
        answer["results"][1]["where"], answer["results"][1]["error"]["code"],
    )  # fmt: skip
    assert {} == command.tree()


def test_verify_only_of_one_that_is_no_json_says_so(command: Command) -> None:
    code, answer, stderr = command.ingest("--verify-only", given=b"{")

    assert (1, None) == (code, answer)
    assert "error: SUBMISSION_INVALID:" in stderr


def test_one_submission_is_explained_at_a_time(command: Command, tmp_path: Path) -> None:
    (tmp_path / "two.ndjson").write_bytes(encoded({"/run_id": "a"}) + b"\n" + encoded({"/run_id": "b"}))

    code, _, stderr = command(
        "explain", "--payload", str(tmp_path / "two.ndjson"), "--repo-root", str(command.root), "--provenance=stub"
    )

    assert 1 == code
    assert "one submission is explained at a time, and there are 2" in stderr


def test_explain_tells_every_stage_with_what_it_found(command: Command, tmp_path: Path) -> None:
    (tmp_path / "one.json").write_bytes(encoded({"/overall_verdict": "nonsense"}))

    code, answer, _ = command(
        "explain", "--payload", str(tmp_path / "one.json"), "--repo-root", str(command.root), "--provenance", "stub"
    )

    found = {stage["stage"]: stage for stage in answer["stages"]}
    assert (0, "rejected", "fail") == (code, answer["status"], answer["verdict"]["verified"])
    assert ["/overall_verdict"] == [reason["where"] for reason in found["schema"]["reasons"]]
    assert found["steps"]["was_skipped"]


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (b"", "SUBMISSION_INVALID"),
        (b"{", "SUBMISSION_INVALID"),
        (b'{"a": NaN}', "SUBMISSION_INVALID"),
        (b'{"a": 1, "a": 2}', "SUBMISSION_INVALID"),
        (b"[" * 10_000, "SUBMISSION_INVALID"),
        (b'"' + b"x" * 10_000_000 + b'"', "LIMIT_EXCEEDED"),
    ],
    ids=["nothing", "half", "nan", "twice", "deep", "large"],
)
def test_what_is_no_submission_is_the_callers_error(command: Command, given: bytes, code: str) -> None:
    found, answer, stderr = command.ingest(given=given)

    assert (1, None) == (found, answer)
    assert f"error: {code}:" in stderr
    assert "Traceback" not in stderr
    assert not any(path.startswith("records") for path in command.tree())


@pytest.mark.parametrize("given", [b"[]", b"null", b"7", b'"x"'], ids=bytes.decode)
def test_what_is_no_object_is_rejected_and_kept_nowhere(command: Command, given: bytes) -> None:
    code, answer, _ = command.ingest(given=given)

    assert (1, "rejected", None, False) == (code, answer["status"], answer["path"], answer["written"])
    assert ["submission-malformed: submission is null or not an object"] == answer["rejection_reasons"]


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        (("--provenance", "stub"), {"CI": "true"}, "refused in CI"),
        (("--provenance=nobody",), {}, "there is no provenance"),
        (("--profile", "2.0"), {}, "there is no profile"),
        (("--as-of", "yesterday"), {}, "not a time"),
        (("--repair",), {}, "No such option: --repair"),
        (("--payload",), {}, "--payload"),
    ],
)
def test_a_word_that_means_nothing_is_the_callers_error(
    command: Command, arguments: tuple[str, ...], settings: dict[str, str], message: str
) -> None:
    code, answer, stderr = command.ingest(*arguments, given=encoded(), settings=settings)

    assert (1, None) == (code, answer)
    assert message in stderr
    assert "Traceback" not in stderr


@pytest.mark.parametrize(
    ("arguments", "global_policy", "message"),
    [
        (("--provenance=github",), None, "without a token"),
        (("--policies", "/nowhere"), None, "global-policy.yaml cannot be read"),
        (("--policies", "store", "--ndjson"), None, "no policies are adopted"),
        ((), "defaults: [", "global-policy.yaml cannot be read"),
        (("--verify-only",), "policy_version: 1\n", "the global policy is invalid"),
    ],
    ids=["no token", "no directory", "nothing adopted", "no YAML", "invalid"],
)
def test_nothing_to_judge_by_is_the_systems_fault(
    command: Command, arguments: tuple[str, ...], global_policy: str | None, message: str
) -> None:
    if global_policy is not None:
        (command.root / "policies" / "global-policy.yaml").write_text(global_policy)

    no_token = {"GITHUB_TOKEN": "", "GH_TOKEN": ""}
    code, answer, stderr = command.ingest(*arguments, given=encoded() + b"\n", settings=no_token)

    assert (2, None) == (code, answer)
    assert message in stderr
    assert "error: CONFIGURATION_INVALID:" in stderr
    assert "Traceback" not in stderr
    assert {} == command.tree()


def test_many_that_nothing_can_judge_are_each_told_so(command: Command) -> None:
    (command.root / "policies" / "global-policy.yaml").write_text("defaults: [")

    code, answer, _ = command.ingest("--ndjson", given=encoded() + b"\n" + encoded({"/run_id": "b"}))

    assert 2 == code
    assert ["CONFIGURATION_INVALID"] * 2 == [each["error"]["code"] for each in answer["results"]]
    assert not answer["indexes_rebuilt"]
    assert {} == command.tree()


def test_submissions_that_fail_each_for_its_own_reason_exit_by_what_they_have_in_common(command: Command) -> None:
    good, bad = encoded({"/run_id": "a"}), encoded({"/run_id": "b", "/policy_version": "1.0.0"})

    codes = [
        command.ingest("--ndjson", given=b"\n".join(lines))[0]
        for lines in ([b""], [good, good], [bad, b"{"], [bad, good])
    ]

    assert [0, 0, 1, 0] == codes


def test_help_says_what_the_options_are(command: Command) -> None:
    shown = command.words("ingest", "--help")

    assert all(f"--{name}" in shown for name in ("payload", "repo-root", "policies", "provenance", "verify-only"))


def test_a_server_is_not_asked_by_these_commands(command: Command) -> None:
    code, _, stderr = command.ingest("--server", "http://127.0.0.1:9", given=encoded())

    assert 1 == code
    assert "works on the host of the store" in stderr


def test_a_webhook_may_be_told_of_records(tmp_path: Path) -> None:
    (tmp_path / "webhooks.toml").write_text(
        '[webhooks.hub]\nurl = "https://hub.example.org/x"\nevents = ["v1.testing_os.recorded"]\n'
        'secrets = ["whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="]\n'
    )
    settings = {
        "ARTIFACTSTORE_HOME": str(tmp_path / "home"),
        "ARTIFACTSTORE_WEBHOOKS_CONFIG_PATH": str(tmp_path / "webhooks.toml"),
    }

    answer = subprocess.run(
        [sys.executable, "-m", "artifactstore", "webhook", "list"], env={**clean_environment(), **settings},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert 0 == answer.returncode, answer.stderr
    assert "v1.testing_os.recorded" in answer.stdout
