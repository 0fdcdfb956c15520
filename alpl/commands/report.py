"""`alpl-report`: write the report of every table found among run folders."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from alpl.commands.messages import told
from alpl.errors import ConfigError
from alpl.runs.results import RunResult, find_runs


def cli(arguments: Sequence[str] | None = None) -> None:
    """Run the command; exit with 2 and one line where there is nothing to report, or no place to write it."""
    options = _parser().parse_args(arguments)
    with told("alpl-report"):
        for page in _write(options):
            print(page)


def report_folder(table: str, runs: Sequence[RunResult]) -> Path:
    """Give ``<runs>/<table>/report``, beside the rows of the table.

    Raises:
        ConfigError: no run lies in a folder of the table's name.
    """
    parts = Path(table).parts
    for run in runs:
        for folder in run.folder.resolve().parents[1:]:
            if folder.parts[-len(parts) :] == parts:
                return folder / "report"
    raise ConfigError(f"--out must be given: no run of {table} lies in a folder of that name")


def _write(options: argparse.Namespace) -> list[Path]:
    runs = find_runs(options.runs)
    tables = sorted({run.table for run in runs})
    places = " ".join(str(path) for path in options.runs)
    if not runs:
        raise ConfigError(f"RUNS must hold run folders (with a run.json), got none in {places}")
    if options.table is not None and options.table not in tables:
        raise ConfigError(f"--table must be one of {', '.join(tables)}, got {options.table}")
    from alpl.report import write_report  # here: plotting takes a second to import, which --help needs not

    pages = []
    for table in tables if options.table is None else [options.table]:
        members = [run for run in runs if run.table == table]
        if options.out is None:
            out = report_folder(table, members)
        else:
            out = _under(options.out, table, is_only=len(tables) == 1 or options.table is not None)
        pages.append(write_report(table, members, out))
    return pages


def _under(out: Path, table: str, *, is_only: bool) -> Path:
    """Give ``out`` itself for one table, a folder in it for each of several."""
    if is_only:
        return out
    if Path(table).is_absolute() or ".." in Path(table).parts:
        raise ConfigError(f"table must be a relative name to become a folder of --out, got {table}")
    return out / table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="alpl-report",
        description="Write tables, learning curves and a page for every table found among run folders.",
    )
    parser.add_argument(
        "runs",
        nargs="*",
        type=Path,
        default=[Path("runs")],
        metavar="RUNS",
        help="folders of runs (default: runs)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where to write (default: report/ beside the table's rows)"
    )
    parser.add_argument("--table", metavar="NAME", help="only this table, for example thesis/table3_1")
    return parser
