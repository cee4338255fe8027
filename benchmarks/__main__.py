"""``python -m benchmarks``: measure, report, profile."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.data import SEED, WORKLOADS, dataset
from benchmarks.machine import describe
from benchmarks.parts import PARTS, OtherRunError, joined, named, workloads_to_keep
from benchmarks.processes import ROOT
from benchmarks.profiling import OPERATIONS, profile
from benchmarks.report import as_markdown, as_text
from benchmarks.runner import FORMAT, KEPT, Options, measure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.runner import Results

_PLACE = ROOT / ".local" / "bench"
_DOCUMENTS = ROOT / "benchmarks"
_ALL = tuple(name for part in PARTS for name in part.workloads)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and do what it says."""
    options = _parser().parse_args(arguments)
    done: int = options.do(options)
    return done


def _measure(options: argparse.Namespace) -> int:
    chosen = Options(
        workloads=options.only,
        cases=options.cases,
        repeats=options.repeats or (1 if options.quick else 5),
        large_repeats=options.large_repeats or (1 if options.quick else 3),
        quick=options.quick,
        peers=not options.no_peers,
        seed=options.seed,
    )
    is_trial = options.quick or options.cases or options.no_peers
    with _found_first(options.peers_path), _work(options.work) as work:
        if options.output or options.markdown or (is_trial and not options.into):
            return _write(measure(chosen, work), options.output, options.markdown)
        return _measure_parts(chosen, work, options.into or _DOCUMENTS)


def _measure_parts(chosen: Options, work: Path, into: Path) -> int:
    """Each part into its own documents, as soon as it is measured."""
    parts = [(part, [name for name in part.workloads if name in chosen.workloads]) for part in PARTS]
    parts = [(part, names) for part, names in parts if names]
    machine = describe(work)
    try:
        kept = {part: workloads_to_keep(part, names, chosen.document(), machine, into) for part, names in parts}
    except OtherRunError as error:
        print(error, file=sys.stderr)
        return 1
    for part, names in parts:
        results = measure(replace(chosen, workloads=names), work)
        _write(joined(part, kept[part], results), part.results(into), part.report(into))
    return 0


def _write(results: Results, output: Path | None, markdown: Path | None) -> int:
    if output:
        output.write_text(json.dumps(results, indent=1) + "\n")
    if markdown:
        markdown.write_text(as_markdown(results))
    print(as_text(results))
    return 0


def _report(options: argparse.Namespace) -> int:
    results = json.loads(options.results.read_text())
    if results["format"] != FORMAT:
        print(f"{options.results} was written by another version: measure again", file=sys.stderr)
        return 1
    print(as_markdown(results), end="")
    return 0


def _profile(options: argparse.Namespace) -> int:
    with _work(options.work) as work:
        data = dataset(WORKLOADS[options.workload], work, seed=options.seed, quick=options.quick)
        print(profile(options.operation, data.folder, work / "profile"))
        shutil.rmtree(work / "profile", ignore_errors=True)
    return 0


@contextmanager
def _found_first(peers: str | None) -> Iterator[None]:
    """Programs are looked for among the peers, then beside this interpreter (rclone's wheel), then on the PATH."""
    before = os.environ.get("PATH", os.defpath)
    places = [*([str(Path(peers).resolve())] if peers else []), str(Path(sys.executable).parent), before]
    os.environ["PATH"] = os.pathsep.join(places)
    try:
        yield
    finally:
        os.environ["PATH"] = before


@contextmanager
def _work(given: Path | None) -> Iterator[Path]:
    """The folder to work in: the one given, which is kept with its data, or a temporary one."""
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        for left in ("stores", *(path.name for path in given.glob("scratch-*")), KEPT):
            shutil.rmtree(given / left, ignore_errors=True)
        yield given.resolve()
        return
    _PLACE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="work-", dir=_PLACE) as made:
        yield Path(made)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.set_defaults(do=_measure)
    _add_common(parser)
    parser.add_argument(
        "--only",
        type=_workloads,
        default=list(_ALL),
        metavar="W1,H-W3,servers",
        help=f"these workloads, or parts: {', '.join(part.name for part in PARTS)}",
    )
    parser.add_argument(
        "--cases", type=_words, default=[], metavar="ingest,verify", help="cases with these in their names"
    )
    parser.add_argument("--repeats", type=int, help="how often each case is run (default 5)")
    parser.add_argument("--large-repeats", type=int, help="the same for what takes long (default 3)")
    parser.add_argument("--no-peers", action="store_true", help="leave everybody else's programs out")
    parser.add_argument("--peers-path", metavar="DIR", help="look for peers' programs here first, then on the PATH")
    parser.add_argument(
        "--output",
        type=Path,
        help="the JSON of this run alone, instead of each part's documents",
    )
    parser.add_argument("--markdown", type=Path, help="the report of this run alone")
    parser.add_argument(
        "--into",
        type=Path,
        metavar="DIR",
        help="where each part's documents are, in which other workloads' figures stay (default benchmarks/;"
        " a trial with --quick, --cases or --no-peers writes none unless this is said)",
    )
    actions = parser.add_subparsers(metavar="report | profile")
    report = actions.add_parser("report", help="print the report from the JSON")
    report.add_argument("results", type=Path, nargs="?", default=PARTS[0].results(_DOCUMENTS))
    report.set_defaults(do=_report)
    profiling = actions.add_parser("profile", help="print where the time of an operation goes")
    profiling.add_argument("workload", choices=WORKLOADS)
    profiling.add_argument("operation", choices=OPERATIONS, nargs="?", default="ingest")
    _add_common(profiling)
    profiling.set_defaults(do=_profile)
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--work", type=Path, help="a folder on the disk to be measured; its data is kept and used again"
    )
    parser.add_argument("--quick", action="store_true", help="small data, once: to see that everything runs")
    parser.add_argument("--seed", type=int, default=SEED, help="of the data")


def _workloads(text: str) -> list[str]:
    try:
        return named(_words(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"there is no workload {error}") from error


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


if __name__ == "__main__":
    sys.exit(main())
