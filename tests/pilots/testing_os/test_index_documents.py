"""The indexes: the original's to the byte, whatever order records come in, at a cost that does not grow with them."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.domain.instant import parse_instant
from artifactstore.pilots.testing_os.ecmascript import json_text
from artifactstore.pilots.testing_os.formats import instant_ms
from artifactstore.pilots.testing_os.index_documents import (
    IndexDocuments,
    age_days,
    documents,
    scan_key,
    scan_order,
    surfaces_of,
)
from tests.pilots.testing_os.folding import folded, rows_of_tree
from tests.pilots.testing_os.golden import World, golden_cases, policy_texts, write_policies

DAY = "2026/11/01"
AT = "2026-11-01T00:00:00Z"
AS_OF = parse_instant("2026-12-01T00:00:00Z")


def record(repo: str, run_id: str, finished_at: str = AT, **members: Any) -> dict[str, Any]:
    """As much of a record as an index looks at."""
    surfaces = members.pop("surfaces", ["cli"])
    return {
        "run_id": run_id,
        "repo": repo,
        "timing": {"finished_at": finished_at},
        "scenario_results": [{"product_surface": surface} for surface in surfaces],
        "overall_verdict": {"verified": members.get("verified", "pass")},
        "verification": {"status": members.get("status", "accepted")},
    }


def path_of(repo: str, run_id: str, *, rejected: bool = False) -> str:
    return f"records/{'_rejected/' if rejected else ''}{repo}/{DAY}/run-{run_id}.json"


def indexes(records: dict[str, dict[str, Any]], **options: Any) -> IndexDocuments:
    """The indexes over a tree; the files come in no order."""
    surfaces = folded(rows_of_tree(records))
    random.Random(7).shuffle(surfaces)
    return documents(surfaces, **{"as_of": AS_OF, **options})


def tree(*records: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {path_of(each["repo"], each["run_id"]): each for each in records}


def runs_of(found: IndexDocuments) -> dict[str, dict[str, str]]:
    latest: Any = found.latest_by_repo
    return {repo: {name: entry["run_id"] for name, entry in surfaces.items()} for repo, surfaces in latest.items()}


# as the golden cases have it


def test_the_indexes_after_every_golden_case_are_equal(tmp_path_factory):
    policies = {
        name: write_policies(tmp_path_factory.mktemp("golden") / "policies", name)
        for name in policy_texts()["golden_yaml"]
    }
    differing, compared = [], 0
    for case in golden_cases():
        if "threw" in case["outcome"] or case["outcome"]["latest"] is None:
            continue
        world = World(policies[case["policy"]])
        if before := case.get("preexisting"):
            world.ingest({**case, "provenance": before.get("prov", case["provenance"])}, before["sub"])
        world.ingest(case, case["submission"])
        found = indexes(world.records)
        wanted = [case["outcome"]["latest"], case["outcome"]["failing"]]
        if json.dumps(wanted) != json.dumps([found.latest_by_repo, found.failing]):
            differing.append(case["id"])
        compared += 1

    assert [] == differing
    assert compared >= 300


# as the original has it where no golden case looks: observed of its rebuild over such trees


def test_the_files_are_the_originals_to_the_byte():
    found = indexes(tree(record("o/r", "a", "2026-10-01T00:00:00Z", verified="fail"))).files()

    assert {
        "latest-by-repo.json": b"""{
  "o/r": {
    "cli": {
      "run_id": "a",
      "verified": "fail",
      "verification_status": "accepted",
      "finished_at": "2026-10-01T00:00:00Z",
      "path": "records/o/r/2026/11/01/run-a.json"
    }
  }
}
""",
        "failing.json": b"""[
  {
    "repo": "o/r",
    "surface": "cli",
    "run_id": "a",
    "verified": "fail",
    "finished_at": "2026-10-01T00:00:00Z",
    "path": "records/o/r/2026/11/01/run-a.json"
  }
]
""",
        "stale.json": b"""[
  {
    "repo": "o/r",
    "surface": "cli",
    "run_id": "a",
    "finished_at": "2026-10-01T00:00:00Z",
    "age_days": 61,
    "path": "records/o/r/2026/11/01/run-a.json"
  }
]
""",
    } == found
    assert ["latest-by-repo.json", "failing.json", "stale.json"] == list(found)


def test_without_records_they_are_empty():
    assert [b"{}\n", b"[]\n", b"[]\n"] == list(indexes({}).files().values())


def test_repositories_stand_in_the_order_of_a_walk_and_not_of_whole_paths():
    names = ("o/foo-bar", "o/foo", "o/foo.js", "O/foo", "o/foo_x", "o/Foo", "9/x", "o-p/x", "o/foo0")

    found = indexes(tree(*(record(name, "a") for name in names)))

    walked = ["9/x", "O/foo", "o/Foo", "o/foo", "o/foo-bar", "o/foo.js", "o/foo0", "o/foo_x", "o-p/x"]
    assert walked == list(found.latest_by_repo)


def test_what_lies_among_the_rejected_is_scanned_last_and_counts_by_its_status():
    found = indexes(
        {
            path_of("o/a", "zz", rejected=True): record("o/a", "zz"),
            path_of("o/b", "r", rejected=True): record("o/b", "r", status="rejected"),
            path_of("z/z", "x"): record("z/z", "x"),
        }
    )

    assert {"z/z": {"cli": "x"}, "o/a": {"cli": "zz"}} == runs_of(found)
    assert list(found.latest_by_repo) == ["z/z", "o/a"]


def test_a_repositorys_surfaces_stand_together_wherever_they_were_seen():
    old = {"verified": "fail", "finished_at": "2026-01-01T00:00:00Z"}
    found = indexes(
        {
            path_of("o/a", "1"): record("o/a", "1", **old),
            path_of("o/b", "1"): record("o/b", "1", **old),
            path_of("o/a", "2", rejected=True): record("o/a", "2", surfaces=["web"], **old),
        }
    )

    places = [("o/a", "cli"), ("o/a", "web"), ("o/b", "cli")]
    assert places == [(entry["repo"], entry["surface"]) for entry in found.failing]
    assert places == [(entry["repo"], entry["surface"]) for entry in found.stale]


def test_rejected_records_count_in_no_index():
    found = indexes(tree(record("o/r", "a", status="rejected", verified="fail", finished_at="2020-01-01T00:00:00Z")))

    assert ({}, [], []) == (found.latest_by_repo, found.failing, found.stale)


def test_ties_keep_what_was_seen_first_and_keys_the_place_of_what_was_seen_first():
    found = indexes(
        {
            path_of("o/r", "b"): record("o/r", "b", surfaces=["web", "cli", "web"]),
            path_of("o/r", "a"): record("o/r", "a", "2026-11-01T01:00:00+01:00", surfaces=["api", "cli"]),
            "records/o/r/2026/10/01/run-z.json": record("o/r", "z", "2026-10-01T01:00:00Z", surfaces=["plugin"]),
        }
    )

    assert {"o/r": {"plugin": "z", "api": "a", "cli": "a", "web": "b"}} == runs_of(found)
    assert list(found.latest_by_repo["o/r"]) == ["plugin", "api", "cli", "web"]


def test_a_later_run_takes_the_place_of_an_earlier_one_where_that_stood():
    found = indexes(tree(record("o/a", "1"), record("o/b", "1"), record("o/a", "2", "2026-11-01T00:00:00.001Z")))

    assert {"o/a": {"cli": "2"}, "o/b": {"cli": "1"}} == runs_of(found)
    assert list(found.latest_by_repo) == ["o/a", "o/b"]


@pytest.mark.parametrize("unreadable", ["2026-11-02T00:00:00+05", "2026-12-31T23:59:60Z", "nonsense"])
def test_an_instant_that_cannot_be_read_is_older_than_all_others(unreadable):
    first, between = record("o/r", "a", unreadable), record("o/r", "c", unreadable)

    assert {"o/r": {"cli": "b"}} == runs_of(indexes(tree(first, record("o/r", "b", "2001-01-01T00:00:00Z"), between)))
    assert {"o/r": {"cli": "a"}} == runs_of(indexes(tree(first, between)))


def test_an_instant_that_cannot_be_read_is_stale_and_of_no_age():
    (entry,) = indexes(tree(record("o/r", "a", "2026-11-02T00:00:00+05"))).stale

    assert entry["age_days"] is None


@pytest.mark.parametrize(
    ("finished_at", "age"),
    [
        ("2026-11-01T00:00:00Z", None),
        ("2026-10-31T23:59:59.999Z", 30),
        ("2026-10-31T00:00:00.001Z", 30),
        ("2026-10-31T00:00:00Z", 31),
        ("2026-11-01T01:00:00+01:00", None),
        ("2027-01-01T00:00:00Z", None),
    ],
)
def test_stale_is_what_is_older_than_thirty_days_to_the_millisecond(finished_at, age):
    found = indexes(tree(record("o/r", "a", finished_at))).stale

    assert ([] if age is None else [age]) == [entry["age_days"] for entry in found]


def test_the_threshold_of_stale_is_a_parameter():
    records = tree(record("o/a", "a", "2026-11-24T00:00:00Z"), record("o/b", "b", "2026-11-23T23:59:59Z"))

    assert ["o/b"] == [entry["repo"] for entry in indexes(records, stale_days=7).stale]
    assert ["o/a", "o/b"] == [entry["repo"] for entry in indexes(records, stale_days=0).stale]


def test_an_age_is_rounded_down_also_before_it_begins():
    assert [0, -1, -2] == [age_days((AS_OF // 1000) + ms, AS_OF) for ms in (0, 1, 86_400_001)]


def test_failing_is_every_verdict_but_pass():
    verdicts = ("pass", "fail", "blocked", "partial")

    found = indexes(tree(*(record(f"o/{verdict}", "a", verified=verdict) for verdict in verdicts)))

    assert ["o/blocked", "o/fail", "o/partial"] == [entry["repo"] for entry in found.failing]


# what a projection relies on

NAMES = st.sampled_from(["o/r", "o/r-1", "o/r.1", "O/r", "o-p/r"])
INSTANTS = st.sampled_from(["2026-11-01T00:00:00Z", "2026-11-01T01:00:00+01:00", "2026-11-02T00:00:00Z", "nonsense"])
SURFACES = st.lists(st.sampled_from(["cli", "web", "api"]), min_size=1, max_size=3)
RECORDS = st.lists(
    st.tuples(NAMES, st.sampled_from("abcd"), INSTANTS, SURFACES, st.sampled_from(["pass", "fail"]), st.booleans()),
    max_size=12,
)


@given(RECORDS, st.randoms(use_true_random=False))
def test_whatever_order_records_come_in_the_indexes_are_those_of_a_scan(drawn, chance):
    files = {}
    for repo, run_id, instant, surfaces, verdict, is_rejected in drawn:
        each = record(repo, run_id, instant, surfaces=surfaces, verified=verdict)
        files[path_of(repo, run_id, rejected=is_rejected)] = each

    surfaces = folded(rows_of_tree(files))
    chance.shuffle(surfaces)

    assert json.dumps(scanned(files)) == json.dumps(documents(surfaces, as_of=AS_OF).latest_by_repo)


def scanned(files: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """latest-by-repo.json as it is read from the published rules: one scan, in order, over everything."""
    latest: dict[str, Any] = {}
    for path in sorted(files, key=lambda path: (path.startswith("records/_rejected/"), path.split("/"))):
        each = files[path]
        surfaces = latest.setdefault(each["repo"], {})
        for surface in [result["product_surface"] for result in each["scenario_results"]]:
            known = surfaces.get(surface)
            if known is None or milliseconds(each["timing"]["finished_at"]) > milliseconds(known["finished_at"]):
                surfaces[surface] = {
                    "run_id": each["run_id"],
                    "verified": each["overall_verdict"]["verified"],
                    "verification_status": "accepted",
                    "finished_at": each["timing"]["finished_at"],
                    "path": path,
                }
    return latest


def milliseconds(text: str) -> float:
    found = instant_ms(text)
    return float("-inf") if found is None else found


@given(st.lists(st.lists(st.sampled_from(["a", "a-b", "a.b", "A", "0", "_x", "a_b"]), min_size=1, max_size=4)))
def test_keys_sort_as_a_walk_does(paths):
    keys = sorted(paths, key=lambda path: scan_key("records/" + "/".join(path)).encode())

    assert sorted(paths) == keys


@given(st.lists(st.tuples(NAMES, st.integers(0, 9)), unique=True))
def test_an_order_as_text_sorts_as_the_pair_does(places):
    texts = sorted(places, key=lambda place: scan_order(path_of(place[0], "a"), place[1]).encode())

    assert sorted(places, key=lambda place: (scan_key(path_of(place[0], "a")), place[1])) == texts


def test_a_surface_counts_once_at_its_first_place():
    assert ("web", "cli") == surfaces_of(record("o/r", "a", surfaces=["web", "cli", "web"]))


@given(st.text(), st.text())
def test_text_is_written_as_the_original_writes_it(name, run_id):
    each = record(name, run_id, verified="fail")
    found = documents(folded(rows_of_tree({"records/x": each})), as_of=AS_OF)

    for text, value in zip(found.files().values(), (found.latest_by_repo, found.failing, found.stale), strict=True):
        assert json_text(value) + "\n" == text.decode()
