import csv
import io
import json
import statistics
import warnings

import numpy as np
import pytest
from fake_detection import CLASSES, class_values, make_detection_run, make_detection_sweep
from PIL import Image

from alpl.report.drawn.class_figures import plot_class_gains, plot_classes
from alpl.report.read.aggregate import group
from alpl.report.read.classes import class_tables, classes_csv
from alpl.runs.results import find_runs


def tables_of(root, reference=None):
    notes = []
    return class_tables(group(find_runs([root])), reference, notes), notes


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    return tables_of(make_detection_sweep(tmp_path_factory.mktemp("runs")))[0]


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("L"), dtype=float)


def test_a_class_is_averaged_over_the_seeds(tables):
    table = next(one for one in tables if one.data == "voc0712")
    point = table.lines["random"][2]
    values = [class_values("random", 2, seed) for seed in range(3)]
    assert point.num_seeds == 3 and table.classes == CLASSES
    for k in (0, 1):
        assert point.mean[k] == pytest.approx(statistics.fmean(v[k] for v in values))
        assert point.std[k] == pytest.approx(statistics.stdev(v[k] for v in values))
    assert np.isnan(point.mean[2]) and np.isnan(table.lines["elezi"][2].std).all()
    assert {cycle: one.num_seeds for cycle, one in table.lines["elezi"].items()} == {0: 2, 1: 1, 2: 1}


def test_the_gain_is_over_the_reference_at_the_same_cycle(tables):
    table = next(one for one in tables if one.data == "voc0712")
    assert table.reference == "random" and table.gain_cycles == [0, 1, 2]
    assert table.gain("ssl", 1)[:2] == pytest.approx([0.015, 0.03])
    assert table.gain("elezi", 1)[:2] == pytest.approx([0.04 - 0.01, 0.08 - 0.01])  # seed 0 against the mean of three
    assert table.gain("random", 1)[:2] == pytest.approx([0, 0])


def test_data_without_the_reference_take_the_first_row(tables):
    other = next(one for one in tables if one.data == "digit_scenes")
    assert other.reference == "elezi" and other.gain_cycles == []
    with pytest.raises(ValueError, match="table must have a row beside elezi, got none"):
        plot_class_gains(other)


def test_the_reference_may_be_named(tmp_path):
    make_detection_sweep(tmp_path)
    assert {one.reference for one in tables_of(tmp_path, "ssl")[0]} == {"ssl", "elezi"}


def test_names_that_the_run_does_not_tell_are_numbers(tmp_path):
    make_detection_run(tmp_path, "t", "random", classes=None)
    assert tables_of(tmp_path)[0][0].classes == ("class 0", "class 1", "class 2")


def test_runs_without_classes_give_no_table(tmp_path):
    folder = make_detection_run(tmp_path, "t", "random")
    for path in folder.glob("cycle_*/metrics.json"):
        path.write_text('{"test/map": 0.5}')
    assert tables_of(tmp_path) == ([], [])


def test_a_broken_file_and_runs_that_differ_are_named(tmp_path):
    folder = make_detection_run(tmp_path, "t", "random")
    (folder / "cycle_01" / "metrics.json").write_text('{"test/map_per_class": [0.5, "high"]}')
    tables, notes = tables_of(tmp_path)
    assert list(tables[0].lines["random"]) == [0, 2] and "the classes of cycle 1 are left out" in notes[0]
    (folder / "cycle_01" / "metrics.json").write_text('{"test/map_per_class": [0.5, 0.25]}')
    assert tables_of(tmp_path) == (
        [], ["voc0712: classes are not shown, as runs have different numbers of them: [2, 3]"],
    )  # fmt: skip


def many(tmp_path, number):
    folder = make_detection_run(tmp_path, "t", "random", num_cycles=1, classes=None)
    order = np.random.default_rng(0).permutation(number).tolist()
    values = [None if k == 5 else order[k] / number for k in range(number)]
    (folder / "cycle_00" / "metrics.json").write_text(json.dumps({"test/map_per_class": values}))
    ranked = sorted((k for k in range(number) if k != 5), key=lambda k: -order[k])
    return tables_of(tmp_path)[0][0], ranked


def test_of_many_classes_the_best_and_the_worst_three_are_shown(tmp_path):
    table, ranked = many(tmp_path, 21)
    assert table.shown == ranked[:3] + ranked[-3:]


def test_twenty_classes_are_all_shown(tmp_path):
    assert many(tmp_path, 20)[0].shown == list(range(20))


def test_the_csv_holds_every_class_of_every_cycle(tables):
    rows = list(csv.DictReader(io.StringIO(classes_csv(tables))))
    (one,) = [
        r for r in rows if (r["data"], r["row"], r["cycle"], r["class"]) == ("voc0712", "ssl", "2", "dog")
    ]  # fmt: skip
    assert float(one["mean"]) == pytest.approx(class_values("ssl", 2, 1)[1])
    assert (one["seeds"], float(one["std"]), float(one["gain"])) == ("3", pytest.approx(0.01), pytest.approx(0.03))
    assert {(r["mean"], r["gain"]) for r in rows if r["class"] == "train"} == {("", "")}
    assert len(rows) == 3 * (4 * 3 + 2)


@pytest.mark.slow
def test_the_figures_show_what_differs(tmp_path):
    make_detection_sweep(tmp_path / "a")
    (table, *_), _ = tables_of(tmp_path / "a")
    by_data = {one.data: one for one in tables_of(tmp_path / "a")[0]}
    table = by_data["voc0712"]
    assert pixels(plot_classes(table)).shape[0] > 4 * 200  # a panel a row
    before = plot_class_gains(table), plot_classes(table)
    table.lines["ssl"][2].mean[0] += 0.2
    after = plot_class_gains(table), plot_classes(table)
    assert all((pixels(a) != pixels(b)).any() for a, b in zip(before, after, strict=True))


def test_long_names_of_rows_leave_room_for_the_bars(tmp_path):
    row = "detection_entropy (data.eval_batch_size=8, schedule.budget=5, schedule.cycles=1, schedule.initial.size=10)"
    for name in (row, f"{row} again"):  # a title names its row and the reference
        make_detection_run(tmp_path, "t", name)
    (table,) = tables_of(tmp_path, row)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib lays nothing out where a title is wider than the figure
        picture = plot_classes(table)
    assert Image.open(io.BytesIO(picture)).width == 990
