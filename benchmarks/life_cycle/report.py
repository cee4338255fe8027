"""What only the workloads L have in a report: a paragraph, and tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.runner import CaseResult, WorkloadResult

    Row = Sequence[str]

LIFE_CYCLE = (
    "Workloads whose names begin with L are what comes after storing. Ours is the library in a process that has"
    " imported everything, on SQLite (`synchronous=FULL`); each run has a copy of a store that was made once. What is"
    " due was stored long ago by the clock of its events. Where only the catalog is looked at, packages have rows and"
    " no bytes: those rows are the events of an ingest. Collection deletes at once, without a grace for"
    " readers; its floor deletes the very files and rows of blobs, and is told which. A scrub and its floor read from"
    " the page cache, into which every object was read before; both make both hashes. In L-foreground the scrub is"
    " under way from the first call to the last at its default rate, 32 MiB a second, in the server itself for GETs and"
    " in another process for ingests; one caller makes one call after the other. The floor of a rebuild lists and"
    " decodes the manifests, reads the packs' directories, and then writes every row that the rebuilt database has,"
    " event log included, in one transaction by statements of many rows."
)
_SLOWEST = ("Case", "median ms", "p99 ms", "slowest ms")
_REQUESTS = ("Case", "PUT", "POST", "HEAD", "GET", "DELETE", "all", "allowed")
_READS = ("Case", "opened", "listed", "asked for a size")
_RATES = ("Case", "a second", "of what")
_BARE = ("Case", "ours s", "CPU s", "floor s", "CPU s", "rows")
_FEW = ("Case", "with many ms", "with few ms")
_REQUEST_KINDS = tuple(f"{kind}_requests" for kind in ("put", "post", "head", "get", "delete", "all", "allowed"))


def life_cycle_tables(workload: WorkloadResult) -> Iterator[tuple[Row, list[Row], str]]:
    """Head, rows and a sentence before them."""
    cases = workload["cases"].items()
    if counts := [_numbers(name, case, _REQUEST_KINDS) for name, case in cases if _has(case, "allowed_requests")]:
        yield (
            _REQUESTS,
            counts,
            "What S3 was asked, as a relay before it counted; POST deletes up to 1,000 objects:",
        )
    if reads := [_read_row(name, case) for name, case in cases if _has(case, "storage_reads")]:
        yield _READS, reads, "What storage was asked while the plan was made and stored:"
    if few := [_milliseconds(name, case, ("wall_s", "few_s")) for name, case in cases if _has(case, "few_s")]:
        yield _FEW, few, "One plan, in turn in a large catalog and a small one:"
    if slow := [_slow_row(name, case) for name, case in cases if _is_called(case)]:
        yield _SLOWEST, slow, "One call; medians of the runs:"
    if bare := [_bare_row(name, case) for name, case in cases if _has(case, "bare_s")]:
        yield _BARE, bare, "Ours, and the same rows written by bare statements after the same reading:"
    if rates := [row for name, case in cases for row in _rate_rows(name, case)]:
        yield _RATES, rates, "As rates:"


def _is_called(case: CaseResult) -> bool:
    return _has(case, "p99_s") and not _has(case, "pushes_per_s")


def _slow_row(name: str, case: CaseResult) -> Row:
    return _milliseconds(name, case, ("wall_s", "p99_s", "slowest_s"))


def _milliseconds(name: str, case: CaseResult, kinds: Sequence[str]) -> Row:
    return name, *(f"{_median(case, kind) * 1000:.2f}" for kind in kinds)


def _numbers(name: str, case: CaseResult, kinds: Sequence[str]) -> Row:
    return name, *(f"{_median(case, kind):,.4g}" for kind in kinds)


def _read_row(name: str, case: CaseResult) -> Row:
    opened = _median(case, "open_requests") + _median(case, "read_requests")
    listed = _median(case, "list_requests") + _median(case, "strays_requests")
    return name, *(f"{count:.0f}" for count in (opened, listed, _median(case, "size_requests")))


def _bare_row(name: str, case: CaseResult) -> Row:
    seconds = (f"{_median(case, kind):.3f}" for kind in ("wall_s", "cpu_s", "bare_s", "bare_cpu_s"))
    return name, *seconds, f"{_median(case, 'rows'):,.0f}"


def _rate_rows(name: str, case: CaseResult) -> Iterator[Row]:
    for kind, unit, per in (
        ("read_bytes_per_s", 2**20, "MiB"),
        ("packages_per_s", 1, "packages"),
        ("objects_per_s", 1, "objects"),
    ):
        if _has(case, kind):
            yield name, f"{_median(case, kind) / unit:,.0f}", per


def _has(case: CaseResult, measure: str) -> bool:
    return measure in case["measures"]


def _median(case: CaseResult, measure: str) -> float:
    return case["measures"][measure]["median"]
