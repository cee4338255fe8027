"""The generator makes the same run from the same seed, in the shape that was asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from artifactstore.testing.guide_board_runs import NEWER_RUN, OLDER_RUN, OPENCMIS_RUN, build_run, write_run

NEWER_FILES = {
    "exports/export-manifest.json",
    "reports/fragments.json",
    "reports/submission-package.json",
    "sources.lock.json",
}


def test_the_same_seed_gives_the_same_bytes():
    assert build_run(NEWER_RUN, run_id="a", seed=5) == build_run(NEWER_RUN, run_id="a", seed=5)


def test_another_seed_gives_other_bytes():
    assert build_run(run_id="a", seed=5) != build_run(run_id="a", seed=6)


@pytest.mark.parametrize(("shape", "files"), [(OLDER_RUN, set()), (NEWER_RUN, NEWER_FILES)], ids=["older", "newer"])
def test_only_newer_runs_have_the_newer_files(shape, files):
    assert NEWER_FILES & build_run(shape, run_id="a").keys() == files


def test_a_run_can_be_as_large_as_a_benchmark_needs(store, tmp_path):
    run = write_run(tmp_path, replace(OPENCMIS_RUN, captures=250, capture_bytes=64, log_bytes=40_000), run_id="large")

    receipt = store.ingest(run)

    assert receipt.file_count == 273
    assert receipt.total_bytes > 250 * 64 + 2 * 40_000


def test_a_run_of_many_check_groups_has_five_artifacts_for_each():
    run = build_run(replace(OLDER_RUN, check_groups=40), run_id="a")

    assert sum(path.startswith("artifacts/") for path in run) == 200
