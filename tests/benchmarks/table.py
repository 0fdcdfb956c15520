"""Rows of a benchmark table: each version of each case runs in a process of its own, which starts with nothing used.

"peak MiB" is resident memory at the peak beside the inputs, the result included (Linux; on CUDA what torch allocates);
for ours measured in a run of its own, in which freed blocks go back to the system at once.
"x obvious" and "x peer" say how many times as long the plain version of the equations and the peer take, and "floor" in
the note how many times as long as bare matrix products ours takes. The fastest of a few turns counts.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import multiprocessing
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

_ENOUGH = 20.0  # seconds after which no further turn is begun
_LARGE = 32.0  # MiB of inputs from which the peak is compared with them
_M_MMAP_THRESHOLD = -3  # of mallopt(3)
_WIDTHS = (26, 40, 8, 8, 9, 8, 0)
COLUMNS = ("task", "size", "seconds", "peak MiB", "x obvious", "x peer", "note")


@dataclass(frozen=True)
class Work:
    """What one row measures, its inputs made.

    Args:
        ours: to be measured; a text that it returns goes into the note.
        obvious: the plain version of the equations.
        floor: bare matrix products that cannot be avoided.
        peers: other libraries by name, the installed ones only.
        inputs: what the method is given; where it is large, the note says the peak in multiples of it.
    """

    ours: Callable[[], object]
    obvious: Callable[[], object] | None = None
    floor: Callable[[], object] | None = None
    peers: dict[str, Callable[[], object]] = field(default_factory=dict)
    inputs: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class Case:
    """One row.

    Args:
        task: the method.
        size: in words.
        prepare: makes the inputs, in the process that measures.
        grows: whether the note compares the seconds with those of the row above.
        together: whether the versions take turns in one process, so that what else runs there slows all of them alike.
    """

    task: str
    size: str
    prepare: Callable[[], Work]
    grows: bool = False
    together: bool = False


class Measured(NamedTuple):
    """What a process found."""

    seconds: float
    peak: float
    """In MiB."""
    inputs: float
    """In MiB."""
    said: str


def arguments(description: str) -> argparse.ArgumentParser:
    """Options that all tables share."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, a minute or two")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--only", default="", help="cases whose task contains this")
    parser.add_argument("--skip-others", action="store_true", help="ours alone")
    parser.add_argument("--turns", type=int, default=3, help=f"of which the fastest counts; {_ENOUGH:g} s at most")
    parser.add_argument("--processor-time", action="store_true", help="of all threads, instead of seconds by the clock")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch")
    return parser


def print_table(cases: Iterable[Case], chosen: argparse.Namespace) -> None:
    """Measure and print the rows whose task was asked for."""
    _print_row(COLUMNS)
    _print_row(["-" * max(width, 4) for width in _WIDTHS])
    above = 0.0
    for case in cases:
        if chosen.only in case.task:
            above = _measure_together(case, chosen) if case.together else _measure_row(case, chosen, above)


def _measure_row(case: Case, chosen: argparse.Namespace, above: float) -> float:
    timed = _in_a_process(case.prepare, "ours", chosen)
    sized = _in_a_process(case.prepare, "ours", chosen, whole_blocks=True)
    assert timed is not None and sized is not None
    ours = sized._replace(seconds=timed.seconds)
    notes = [f"peak {ours.peak / ours.inputs:.2f} x the input"] if ours.inputs >= _LARGE else []
    notes += [ours.said] if ours.said else []
    notes += [f"{ours.seconds / above:.1f} x the row above"] if case.grows and above else []
    times: dict[str, float] = {}
    for version in [] if chosen.skip_others else ["obvious", "floor", *_peers(case.prepare, chosen)]:
        found = _in_a_process(case.prepare, version, chosen)
        if found:
            times[version] = found.seconds / ours.seconds
            extra = f"{ours.seconds / found.seconds:.1f} x the floor" if version == "floor" else ""
            notes.append(extra or f"{version} {found.seconds:.3g} s, {found.peak:.0f} MiB")
    peers = [f"{ratio:.1f}" for version, ratio in times.items() if version not in ("obvious", "floor")]
    obvious = f"{times['obvious']:.1f}" if "obvious" in times else ""
    row = (case.task, case.size, f"{ours.seconds:.2f}", f"{ours.peak:.0f}", obvious, ", ".join(peers), "; ".join(notes))
    _print_row(row)
    return ours.seconds


def _measure_together(case: Case, chosen: argparse.Namespace) -> float:
    """The row of versions that take turns; without a peak, which they would share."""

    def measure() -> tuple[dict[str, float], str]:
        work, clock = case.prepare(), time.process_time if chosen.processor_time else time.perf_counter
        versions = {"ours": work.ours, "obvious": work.obvious} | ({} if chosen.skip_others else work.peers)
        runs = {name: run for name, run in versions.items() if run and not (chosen.skip_others and name == "obvious")}
        found = [
            {name: _once(run, chosen.device, clock) for name, run in runs.items()} for _ in range(chosen.turns + 1)
        ]
        # the first turn loads libraries
        return {name: min(turn[name][0] for turn in found[1:]) for name in runs}, found[0]["ours"][2]

    answer = _run(measure, chosen)
    assert isinstance(answer, tuple)
    seconds, said = answer
    ratios = {name: f"{value / seconds['ours']:.1f}" for name, value in seconds.items()}
    peers = ", ".join(ratios[name] for name in ratios if name not in ("ours", "obvious"))
    notes = "; ".join(
        [said] * bool(said) + [f"{name} {value:.3g} s" for name, value in seconds.items() if name != "ours"]
    )
    _print_row((case.task, case.size, f"{seconds['ours']:.3f}", "", ratios.get("obvious", ""), peers, notes))
    return seconds["ours"]


def _print_row(cells: Iterable[str]) -> None:
    print("| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, _WIDTHS, strict=True)) + " |", flush=True)


# --- one process a version


def _peers(prepare: Callable[[], Work], chosen: argparse.Namespace) -> list[str]:
    names = _run(lambda: list(prepare().peers), chosen)
    assert isinstance(names, list)
    return names


def _in_a_process(
    prepare: Callable[[], Work], version: str, chosen: argparse.Namespace, *, whole_blocks: bool = False
) -> Measured | None:
    """None where the case has no such version; ``whole_blocks``: one turn, slower, that keeps no freed block."""

    def measure() -> Measured | None:
        work = prepare()
        versions = {"ours": work.ours, "obvious": work.obvious, "floor": work.floor} | work.peers
        run = versions[version]
        if run is None:
            return None
        if whole_blocks:
            ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 2**16)
        clock = time.process_time if chosen.processor_time else time.perf_counter
        found = [_once(run, chosen.device, clock)]
        while not whole_blocks and len(found) < chosen.turns and sum(seconds for seconds, _, _ in found) < _ENOUGH:
            found.append(_once(run, chosen.device, clock))
        size = sum(part.numel() * part.element_size() for part in work.inputs) / 2**20
        return Measured(min(one[0] for one in found), found[-1][1], size, found[0][2])

    answer = _run(measure, chosen)
    assert answer is None or isinstance(answer, Measured)
    return answer


def _run(work: Callable[[], object], chosen: argparse.Namespace) -> object:
    """Run in a forked process, which has the imports but no threads, no memory and no device of another row."""
    here, there = multiprocessing.Pipe(duplex=False)

    def child(answer: Connection) -> None:
        torch.set_num_threads(chosen.threads)
        for dtype in (torch.float32, torch.float64):  # loads the libraries, which is not to be measured
            square = torch.ones(256, 256, dtype=dtype, device=chosen.device)
            float((square @ square).sum())
        answer.send(work())

    process = multiprocessing.get_context("fork").Process(target=child, args=(there,))
    process.start()
    there.close()
    try:
        return here.recv()
    except EOFError:
        process.join()
        raise SystemExit(f"a benchmark process ended with status {process.exitcode}") from None
    finally:
        process.join()


def _once(run: Callable[[], object], device: str, clock: Callable[[], float]) -> tuple[float, float, str]:
    """Seconds, MiB at the peak beside what was there before, and what it says."""
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # what was freed before must not hide what is taken now
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
        before = _status("VmRSS")
    start = clock()
    said = run()
    if device == "cuda":
        torch.cuda.synchronize()
    seconds = clock() - start
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else _status("VmHWM")
    return seconds, (peak - before) / 2**20, said if isinstance(said, str) else ""


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) * 1024
