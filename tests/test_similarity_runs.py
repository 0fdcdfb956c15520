"""Whole runs that compare the objects of images: a graph in the place of the matrix, diverse prototypes."""

from pathlib import Path

import pytest
from command import alpl
from test_detection_runs import scramble
from test_difficulty_runs import SMALL, rows_of

from alpl.pool import Pool

OVERRIDES = [*SMALL, "model=retinanet_tiny", "trainer.max_epochs=1"]


@pytest.mark.slow
def test_a_graph_of_all_pairs_queries_what_the_matrix_does(tmp_path: Path) -> None:
    graph = ["method=faiss", "neighbors=100", "matches=10000", "recall=1.0"]
    overrides = [*OVERRIDES, "schedule.cycles=1", "acquisition=entropy_then_ccms"]
    exact = alpl(tmp_path / "exact", *overrides)
    ours = alpl(tmp_path / "ours", *overrides, *(f"+acquisition.second.similarity.{each}" for each in graph))
    assert (exact.status, ours.status) == (0, 0), ours.err
    chosen = [rows_of(each.run_folder() / "cycle_00" / "query.csv") for each in (exact, ours)]
    assert [row["index"] for row in chosen[0]] == [row["index"] for row in chosen[1]]


@pytest.mark.slow
def test_objects_of_unlabeled_images_reach_no_prototype(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overrides = [*OVERRIDES, "schedule.cycles=1", "acquisition=div_proto"]
    true = alpl(tmp_path / "true", *overrides)
    assert true.status == 0, true.err
    folder = true.run_folder()
    assert len(rows_of(folder / "cycle_00" / "query.csv")) == 8
    scramble(monkeypatch, kept=Pool.load(folder / "cycle_00" / "pool.csv").labeled)
    wrong = alpl(tmp_path / "wrong", *overrides).run_folder()
    for name in ("pool.csv", "query.csv"):
        assert (folder / "cycle_00" / name).read_bytes() == (wrong / "cycle_00" / name).read_bytes()
