"""The results as tables: plain for a terminal, Markdown for RESULTS.md. Every number comes from the JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.life_cycle.report import LIFE_CYCLE, life_cycle_tables
from benchmarks.targets import unit_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.machine import Machine
    from benchmarks.runner import CaseResult, Results, WorkloadResult
    from benchmarks.targets import Verdict

    Row = Sequence[str]

_CASES = ("Case", "min s", "median s", "max s", "CPU s", "ratio", "memory MiB", "what")
_SIZES = ("Case", "files' bytes", "content bytes", "manifest bytes", "database bytes", "objects")
_SERVERS = ("Case", "at half MiB", "peak MiB", "growth MiB")
_LOADS = ("Case", "pushes", "a second", "p50 ms", "p99 ms", "slowest ms", "errors", "unaccounted", "cores", "waiting")
_CORES = ("Case", "servers", "PostgreSQL", "S3", "load generator", "others on the machine", "idle")
_REQUESTS = ("Case", "PUT", "POST", "HEAD", "GET", "that write", "for each 64 MiB begun")
_OBSERVED = ("Case", "ours s", "floor s", "again s", "CPU s: ours", "floor", "again")
_FLAT = ("Case", "with many ms", "began empty ms")
_TARGETS = ("", "Workload", "Target", "measured", "divided by", "reached", "wanted")
_CORE_KINDS = ("servers_cores", "postgres_cores", "s3_cores", "generator_cores", "other_cores", "idle_cores")
_REQUEST_KINDS = (
    *(f"{method}_requests" for method in ("put", "post", "head", "get")),
    "writing_requests",
    "writing_requests_per_64_mib",
)
_OBSERVED_KINDS = tuple(f"{way}{kind}_s" for kind in ("wall", "cpu") for way in ("", "floor_", "again_"))
_MIB = 2**20
_LARGE = "W4, W5, H-W4, H-load, S-W5, M-2, T-flat, T-1000 and L"
_OBSERVING = (
    "Workloads whose names begin with I record what a plug-in observed, by `context.ingest` in a process that goes on:"
    " each call is one transaction with a source, an envelope of 512 bytes, two parties and three events. The floor"
    " writes the very rows that ours does, header, chain value and payload of every event included, which it is given:"
    " a begin, one INSERT for each of the four tables, a commit, by the same driver. On SQLite it has the connection of"
    " our adapter (`synchronous=FULL`, the same cache and checkpoints) and begins as ours; on PostgreSQL, which is as"
    " for P, its transactions begin without the time-outs and planner settings that ours set. Ours, the floor and ours"
    " again take turns of 50 calls, in databases of their own. `again` is the same calls once more, which find"
    " everything recorded. In I-flat the larger database was filled by SQL, with rows of the same sizes and random ids."
)
_TESTING_OS = (
    "Workloads whose names begin with T take submissions of testing-os of about 1.5 KB, in one process: ours by"
    " `run()` into a store on disk (SQLite, `synchronous=FULL`), and the published ingest of the product itself, from"
    " npm, by its `ingest()` in Node. Both are given the same submissions, of which one in 53 is rejected, and the"
    " same policy; every run is confirmed by a stub, and both write their stage log to a file. What each does for a"
    " submission: the original judges it, writes the record's file and rewrites its ledger, then reads every record"
    " there is and writes the three indexes; it syncs nothing. `run()` judges it, records it as a package of three"
    " files (two synced objects, one transaction), then writes the record's file and the three indexes, each synced,"
    " and holds the tree's lock. `ours record` is the first half: no tree is written. The 20,000 are recorded by one"
    " call of `run()`, and the original's by its own verifier and digests, with the record files, ledger and indexes"
    " that as many ingests would have left; both then go on from run to run. After a feed the index of either side"
    " must have the newest submission of every surface."
)
_OVER_HTTP = (
    "Workloads whose names begin with H go over HTTP to servers on loopback, without TLS. Each run starts its"
    " server anew and lets it take something small before the clock runs; ours is `artifactstore serve` with one"
    " worker, unless said, one token, and a new store except for H-list. CPU is the client's alone; client and"
    " server share the machine. H-W3 pushes a tree that was never stored before in each run. skopeo takes images"
    " and tars, not directories: ours is divided by its copy of an image that was made beforehand, and the time"
    " with making tar and image stands beside. Floors are our HTTP implementation, with our settings, around the"
    " least there is to do."
)
_ON_S3 = (
    "Workloads whose names begin with S put objects into `rclone serve s3` over a directory on the same disk, on"
    " loopback without TLS. It syncs nothing: what stores on disk waits for is not in these times, neither in ours nor"
    " in boto3's. Each run has a new server and an empty bucket. `ours` and `boto3` are warm processes that have sent"
    " something small before the clock runs. boto3 has its defaults. Ours hashes what it sends, writes it to"
    " a temporary file on the measured disk first, and records it in SQLite."
)
_ON_POSTGRESQL = (
    "Workloads whose names begin with P compare the catalog in SQLite (`synchronous=FULL`) with one in PostgreSQL as"
    " `initdb` leaves it: fsync, synchronous_commit and full_page_writes are on, which is asked of the server before"
    " each measurement. It listens on a unix socket; both are on the same disk, with the objects beside them. Each run"
    " has a new server process on a copy of a database that was made ready. In P-flat, the first 1,000 packages of one"
    " store and the last 1,000 of another are ingested one by one, in turn, after a few hundred that are not timed;"
    " those before the last were recorded 500 in one transaction, and both databases have done what they had put off (a"
    " checkpoint, VACUUM)."
)
_SEVERAL = (
    "M-2 has `artifactstore serve` processes with one worker each on one PostgreSQL and one bucket, both as above, and"
    " 32 clients that are shared out between them. Everything runs on this machine, so two servers can do more than one"
    " only where one leaves cores idle; the target beside says how much of that is used: twice as much, or as"
    " much as the idle cores allow, is 1."
)


def as_text(results: Results) -> str:
    """For a terminal."""
    parts = []
    for name, workload in results["workloads"].items():
        parts.append(f"{name}  {workload['what']}\n\n{_plain(_CASES, _case_rows(workload))}")
        if sizes := _size_rows(workload):
            parts.append(_plain(_SIZES, sizes))
        parts += [_plain(head, rows) for head, rows, _ in _server_tables(workload)]
        parts += [f"{case}: {why}" for case, why in workload["missing"].items()]
    parts.append(_plain(_TARGETS, [_target_row(target) for target in results["targets"]]))
    return "\n\n".join(parts) + "\n"


def as_markdown(results: Results) -> str:
    """For RESULTS.md."""
    return "\n".join([*_head(results), *_targets_section(results), *_workload_sections(results)]).rstrip() + "\n"


def _head(results: Results) -> Iterator[str]:
    options = results["options"]
    yield "# What it costs"
    yield ""
    yield (
        "Generated by `make bench` (`python -m benchmarks report` prints it again); the figures of one workload are"
        " from one run. Do not edit. RESULTS.md is the embedded store, RESULTS-HTTP.md the service, RESULTS-SERVERS.md"
        " both on S3 and PostgreSQL, RESULTS-PROVENANCE.md what plug-ins record, RESULTS-TESTING-OS.md that pilot,"
        " RESULTS-LIFE-CYCLE.md what comes after storing."
    )
    yield ""
    yield (
        f"Each case was run {options['repeats']} times ({_LARGE} {options['large_repeats']}), in turn,"
        " in another order each time. Before each run dirty pages were written out, the files it reads were read once,"
        " and as much memory as its files may fill was claimed (an idle virtual machine gives it back to its host)."
        " Trees of many files were deleted at the end only: a file system that has just deleted 10,000 files may take"
        " ten times as long to create the next 10,000. Ratios are ratios of medians; the column `ratio` is to the floor"
        " or the case that one is compared with. Seconds are wall time; floors and our own in-process cases (`ours`)"
        " begin after their imports, everything else is a whole process. Memory is the highest peak above what the"
        " interpreter holds after our imports. Stores and repositories were created beforehand, except where a case"
        " says otherwise."
    )
    yield ""
    words = {
        "H": _OVER_HTTP,
        "S": _ON_S3,
        "P": _ON_POSTGRESQL,
        "M": _SEVERAL,
        "I": _OBSERVING,
        "T": _TESTING_OS,
        "L": LIFE_CYCLE,
    }
    for begin, said in words.items():
        if any(name.startswith(begin) for name in results["workloads"]):
            yield said
            yield ""
    if options["quick"]:
        yield "**This was a quick run on small data: its ratios say nothing.**"
        yield ""
    yield from _machine(results["machine"])


def _machine(machine: Machine) -> Iterator[str]:
    yield "## The machine"
    yield ""
    yield f"- {machine['cpu']}, {machine['cores']} cores, {machine['memory_bytes'] / 2**30:.1f} GiB of memory"
    yield f"- {machine['file_system']} on a {machine['disk']}"
    yield f"- {machine['system']}, {machine['python']}, SQLite {machine['sqlite']}"
    yield f"- {', '.join(f'{name} {version}' for name, version in machine['libraries'].items())}"
    yield f"- Peers: {', '.join(f'{name}: {said}' for name, said in machine['peers'].items())}"
    yield ""


def _targets_section(results: Results) -> Iterator[str]:
    yield "## Targets"
    yield ""
    yield from _markdown(_TARGETS, [_target_row(target) for target in results["targets"]])


def _workload_sections(results: Results) -> Iterator[str]:
    for name, workload in results["workloads"].items():
        yield f"## {name}: {workload['what']}"
        yield ""
        yield from _markdown(_CASES, _case_rows(workload))
        if sizes := _size_rows(workload):
            yield "What an ingest adds to the store:"
            yield ""
            yield from _markdown(_SIZES, sizes)
        for head, rows, words in _server_tables(workload):
            yield words
            yield ""
            yield from _markdown(head, rows)
        for case, why in workload["missing"].items():
            yield f"- {case}: {why}"
        yield ""


# rows


def _case_rows(workload: WorkloadResult) -> list[Row]:
    return [_case_row(name, case, workload) for name, case in workload["cases"].items()]


def _case_row(name: str, case: CaseResult, workload: WorkloadResult) -> Row:
    wall, cpu = case["measures"]["wall_s"], case["measures"].get("cpu_s")
    memory = case["measures"].get("memory_above_imports_bytes")
    return (
        name,
        *(f"{value:.3f}" for value in (wall["min"], wall["median"], wall["max"])),
        f"{cpu['median']:.3f}" if cpu else "",
        _of_floor(case, workload),
        f"{memory['max'] / 2**20:.0f}" if memory else "",
        case["what"],
    )


def _of_floor(case: CaseResult, workload: WorkloadResult) -> str:
    floors = [workload["cases"][floor]["measures"]["wall_s"] for floor in case["floors"] if floor in workload["cases"]]
    if not floors or len(floors) < len(case["floors"]):
        return ""
    return f"{case['measures']['wall_s']['median'] / sum(floor['median'] for floor in floors):.2f}"


def _size_rows(workload: WorkloadResult) -> list[Row]:
    rows: list[Row] = []
    for name, case in workload["cases"].items():
        measures = case["measures"]
        if "content_bytes" in measures:
            kinds = ("content_bytes", "manifest_bytes", "database_bytes", "object_count")
            rows.append((name, f"{workload['bytes']:,}", *(f"{measures[kind]['median']:,.0f}" for kind in kinds)))
        elif "repository_bytes" in measures:
            total = f"{measures['repository_bytes']['median']:,.0f} in all"
            rows.append((name, f"{workload['bytes']:,}", total, "", "", ""))
    return rows


def _server_tables(workload: WorkloadResult) -> Iterator[tuple[Row, list[Row], str]]:
    """Head, rows and a sentence before them, for what only servers have."""
    cases = workload["cases"].items()
    if servers := [_server_row(name, case) for name, case in cases if _has(case, "server_peak_bytes")]:
        yield _SERVERS, servers, "The most the server held in memory, counted from when the file began to pass:"
    if loads := [_load_row(name, case) for name, case in cases if _has(case, "pushes_per_s")]:
        words = (
            "Medians of the runs; the worst of them for errors and for what was recorded but not acknowledged, or the"
            " reverse. The last two are the load generator's: the processor cores it used, and the share of the"
            " clients' time that was spent waiting for the server."
        )
        yield _LOADS, loads, words
    if cores := [_numbers(name, case, _CORE_KINDS, ".2f") for name, case in cases if _has(case, "servers_cores")]:
        words = "How many processor cores each kept busy while the load lasted, which says what bounds it:"
        yield _CORES, cores, words
    if counts := [
        _numbers(name, case, _REQUEST_KINDS, ".3g") for name, case in cases if _has(case, "writing_requests")
    ]:
        yield _REQUESTS, counts, "What S3 was asked, as a relay before it has counted:"
    if seen := [_numbers(name, case, _OBSERVED_KINDS, ".3f") for name, case in cases if _has(case, "floor_wall_s")]:
        yield _OBSERVED, seen, "All calls of a run, with what they take turns with; on PostgreSQL, CPU is the client's:"
    yield from life_cycle_tables(workload)
    if flat := [_flat_row(name, case) for name, case in cases if _has(case, "empty_s")]:
        yield _FLAT, flat, "One call, with as many recorded as the case says, and in a store or tree that began empty:"


def _has(case: CaseResult, measure: str) -> bool:
    return measure in case["measures"]


def _server_row(name: str, case: CaseResult) -> Row:
    kinds = ("server_peak_after_half_bytes", "server_peak_bytes", "server_growth_bytes")
    return name, *(f"{case['measures'][kind]['max'] / _MIB:.0f}" for kind in kinds)


def _numbers(name: str, case: CaseResult, kinds: Sequence[str], how: str) -> Row:
    return name, *(format(case["measures"][kind]["median"], how) for kind in kinds)


def _flat_row(name: str, case: CaseResult) -> Row:
    return name, *(f"{case['measures'][kind]['median'] * 1000:.1f}" for kind in ("wall_s", "empty_s"))


def _load_row(name: str, case: CaseResult) -> Row:
    measures = case["measures"]
    milliseconds = (f"{measures[kind]['median'] * 1000:.0f}" for kind in ("wall_s", "p99_s", "slowest_s"))
    return (
        name,
        f"{measures['pushes']['median']:,.0f}",
        f"{measures['pushes_per_s']['median']:.1f}",
        *milliseconds,
        *(f"{measures[kind]['max']:.0f}" for kind in ("errors", "unaccounted")),
        *(f"{measures[kind]['median']:.2f}" for kind in ("generator_cores", "waiting_share")),
    )


def _target_row(target: Verdict) -> Row:
    def part(value: float | None) -> str:
        return "" if value is None else amount(value, unit_of(target["measure"]))

    sign = {True: "met", False: "MISSED", None: "not measured"}[target["met"]]
    reached = "" if target["value"] is None else amount(target["value"], target["unit"])
    limit = f"{target['sense']} {amount(target['limit'], target['unit'])}"
    aim = "" if target["aim"] is None else f" (aim {amount(target['aim'], target['unit'])})"
    parts = ("", "") if target["divided_by"] is None else (part(target["measured"]), part(target["divided_by"]))
    return sign, target["workload"], target["what"], *parts, reached, limit + aim


def amount(value: float, unit: str) -> str:
    """A value with its unit, as few digits as say something."""
    match unit:
        case "bytes":
            return f"{value / _MIB:.0f} MiB"
        case "seconds":
            return f"{value * 1000:.1f} ms" if value < 0.1 else f"{value:.3f} s"
        case "per second":
            return f"{value:.1f}/s"
        case "count":
            return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"
        case _:
            return f"{value:.2f}"


# tables


def _plain(head: Row, rows: Sequence[Row]) -> str:
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = [head, *rows]
    return "\n".join("  ".join(_aligned(row, widths)).rstrip() for row in lines)


def _aligned(row: Row, widths: Sequence[int]) -> Iterator[str]:
    for cell, width in zip(row, widths, strict=True):
        yield cell.rjust(width) if cell[:1].isdigit() else cell.ljust(width)


def _markdown(head: Row, rows: Sequence[Row]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""
