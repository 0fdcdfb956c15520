import csv
import io
from itertools import combinations

import numpy as np
import pytest
import torch
from fake_runs import NUM_IMAGES, make_run, save_query
from PIL import Image

from alpl.machine.files import write_text
from alpl.pool import Pool
from alpl.report import write_report
from alpl.report.drawn.overlap import chance_overlap, overlap, overlap_csv, overlap_tables, plot_overlaps
from alpl.report.read.aggregate import group
from alpl.runs.results import find_runs


def choose(folder, *queries):
    for cycle, query in enumerate(queries):
        save_query(folder, cycle, query)


def tables_of(root, notes=None):
    return overlap_tables(group(find_runs([root])), [] if notes is None else notes)


def test_shares_by_hand(tmp_path):
    """400 images, 40 labeled at first: 360 to choose from."""
    choose(make_run(tmp_path, "t", "a", seed=0), [100, 101, 102, 103], [104, 105, 106, 107])
    choose(make_run(tmp_path, "t", "b", seed=0), [102, 103, 104, 105], [100, 106, 108, 109])
    choose(make_run(tmp_path, "t", "a", seed=1), [100, 101, 102, 103])
    choose(make_run(tmp_path, "t", "b", seed=1), [103, 200, 201, 202], [1, 2, 3, 4])
    (table,) = tables_of(tmp_path)
    first, second = table.pairs["a", "b"]
    assert (first.cycle, first.share, first.num_seeds) == (0, pytest.approx((2 / 4 + 1 / 4) / 2), 2)
    assert first.std == pytest.approx(np.std([0.5, 0.25], ddof=1)) and first.chance == pytest.approx(4 / 360)
    # 102..105, 100 and 106 of eight each; only seed 0 came so far in both rows
    assert (second.cycle, second.share, second.std, second.num_seeds) == (1, 6 / 8, None, 1)
    assert second.chance == pytest.approx(8 / 360)
    assert table.at("b", "a", 1) is second and table.at("a", "a", 0) is None and table.last_cycle == 1
    lines = list(csv.DictReader(io.StringIO(overlap_csv([table]))))
    assert lines[1] == {
        "data": "digits", "row": "a", "other": "b", "cycle": "1", "overlap": "0.750000", "std": "",
        "chance": "0.022222", "seeds": "1",
    }  # fmt: skip


def test_the_row_with_fewer_is_the_measure(tmp_path):
    choose(make_run(tmp_path, "t", "a"), [100, 101])
    choose(make_run(tmp_path, "t", "b"), [100, 101, 102, 103, 104])
    (table,) = tables_of(tmp_path)
    (one,) = table.pairs["a", "b"]
    assert one.share == 1 and one.chance == pytest.approx(5 / 360)


def test_chance_is_what_random_draws_have_on_average():
    draw = np.random.default_rng(0)
    found = [
        overlap(frozenset(draw.permutation(60)[:12].tolist()), frozenset(draw.permutation(60)[:20].tolist()))
        for _ in range(4000)
    ]
    assert np.mean(found) == pytest.approx(chance_overlap(12, 20, 60), abs=4 * np.std(found) / len(found) ** 0.5)


def test_only_the_same_seed_and_initial_set_are_compared(tmp_path):
    choose(make_run(tmp_path, "t", "a", seed=0), [100, 101])
    choose(make_run(tmp_path, "t", "b", seed=1), [100, 101])
    assert tables_of(tmp_path) == []
    folder = make_run(tmp_path, "t", "b", seed=0)
    choose(folder, [100, 101])
    assert len(tables_of(tmp_path)) == 1
    Pool.create(NUM_IMAGES, torch.arange(1, 41)).save(folder / "cycle_00" / "pool.csv")
    assert tables_of(tmp_path) == []


def test_excluded_images_cannot_be_chosen(tmp_path):
    for row in "ab":
        folder = make_run(tmp_path, "t", row)
        choose(folder, [100, 101, 102])
        pool = Pool.create(NUM_IMAGES, torch.arange(40), torch.arange(200, 400))
        pool.save(folder / "cycle_00" / "pool.csv")
    (table,) = tables_of(tmp_path)
    assert table.pairs["a", "b"][0].chance == pytest.approx(3 / 160)


@pytest.mark.parametrize(
    "name, text",
    [
        ("query.csv", "rank,index\n0,x\n"),
        ("query.csv", "rank,index\n"),
        ("query.csv", "rank,index,utility\n0,100,0.0\n1,10"),
        ("query.csv", "rank,index,utility\n0,100,0.0\n1,101,0."),
        ("query.csv", "rank,index,utility\n0,100,0.0\n1,100,0.0\n"),
        ("pool.csv", ""),
    ],
)
def test_a_broken_file_is_named_and_left_out(tmp_path, name, text):
    for row in "abc":
        folder = make_run(tmp_path, "t", row)
        choose(folder, [100, 101])
    write_text(folder / "cycle_00" / name, text)
    notes = []
    (table,) = tables_of(tmp_path, notes)
    assert set(table.pairs) == {("a", "b")} and len(notes) == 1 and name in notes[0]


def test_a_query_that_breaks_off_between_two_lines_is_told_by_the_next_pool(tmp_path):
    for row in "abc":
        folder = make_run(tmp_path, "t", row)
        choose(folder, [100, 101])
        first = (folder / "cycle_00" / "pool.csv").read_text().split("\n", 1)[0]
        number = int(first.split("num_labeled=")[1])
        write_text(folder / "cycle_01" / "pool.csv", f"{first.replace(str(number), str(number + 2))}\nindex,cycle\n")
    write_text(folder / "cycle_00" / "query.csv", "rank,index,utility\n0,100,0.0\n")
    notes = []
    (table,) = tables_of(tmp_path, notes)
    assert set(table.pairs) == {("a", "b")}
    assert len(notes) == 1 and "query.csv must hold the 2 images that cycle 1 has more, got 1" in notes[0]


def test_figure_and_file_are_in_the_report(tmp_path):
    draw = np.random.default_rng(1)
    for row in ("random", "entropy", "kcenter"):
        for seed in range(2):
            queries = draw.permutation(np.arange(40, 400))[:60].reshape(3, 20).tolist()
            choose(make_run(tmp_path, "t", row, seed=seed), *queries)
    out = tmp_path / "out"
    page = write_report("t", find_runs([tmp_path]), out).read_text()
    assert "Overlap of the queries on digits" in page
    lines = list(csv.DictReader((out / "overlap.csv").open()))
    assert len(lines) == 3 * 3 and all(0 <= float(line["overlap"]) <= 1 for line in lines)
    assert {(line["row"], line["other"]) for line in lines} == set(combinations(["entropy", "kcenter", "random"], 2))
    assert Image.open(out / "overlap_digits.png").width > 600
    again = plot_overlaps(tables_of(tmp_path)[0])
    assert again == (out / "overlap_digits.png").read_bytes()
