"""Data sets of one name: what runs measure on different ones belongs into no one table, whatever they are called."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from alpl.runs.results import RunResult


def told_apart(runs: Sequence[RunResult]) -> list[RunResult]:
    """Name the data of runs by their fingerprint, too, where several data sets have one name: "voc_folder 1f0c36a2".

    Runs that have not noted which data they are of keep the name alone.
    """
    several = _several(runs)
    return [
        replace(run, data=f"{run.data} {run.fingerprint.identity}") if run.data in several and run.fingerprint else run
        for run in runs
    ]


def notes_on_data(runs: Sequence[RunResult]) -> list[str]:
    """Say which data sets of one name :func:`told_apart` tells apart among these runs."""
    return [
        f"{name}: the runs are of different data, told apart by their fingerprints ({', '.join(identities)}); "
        "data.name=NAME gives each a name of its own"
        for name, identities in _several(runs).items()
    ]


def about_data(runs: Iterable[RunResult], names: Iterable[str]) -> list[str]:
    """Say of each data set what tells it from others, and how large it is, where a run has noted that."""
    about = {run.data: f"{run.fingerprint.identity}: {run.fingerprint.summary}" for run in runs if run.fingerprint}
    return [f"{name} ({about[name]})" if name in about else name for name in names]


def _several(runs: Iterable[RunResult]) -> dict[str, list[str]]:
    """Give name -> what tells its data sets from each other, where it has several."""
    found: dict[str, set[str]] = {}
    for run in runs:
        if run.fingerprint is not None:
            found.setdefault(run.data, set()).add(run.fingerprint.identity)
    return {name: sorted(found[name]) for name in sorted(found) if len(found[name]) > 1}
