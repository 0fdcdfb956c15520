import csv
import io
from itertools import pairwise

import pytest
from fake_runs import INITIAL, accuracy, make_run, make_sweep

from alpl.machine.files import write_text
from alpl.report.judged.acquisitions import acquisition_tables
from alpl.report.judged.intervals import paired_p_value
from alpl.report.page.acquisition_text import acquisition_csv, acquisition_markdown, head_of, shown
from alpl.report.read.aggregate import group
from alpl.report.read.tables import wide_tables
from alpl.runs.results import find_runs


def compare(root, reference=None, metric=None):
    notes = []
    tables = wide_tables(group(find_runs([root])), metric)
    return acquisition_tables(tables, reference, notes), notes


def set_metrics(folder, values, labeled=None, objects=None, metric="test/accuracy"):
    """Write a run's metrics anew."""
    labeled = labeled or [INITIAL + 20 * cycle for cycle in range(len(values))]
    lines = [f"cycle,num_labeled,{metric}" + (",num_labeled_objects" if objects else "")]
    for cycle, value in enumerate(values):
        lines.append(f"{cycle},{labeled[cycle]},{value}" + (f",{objects[cycle]}" if objects else ""))
    write_text(folder / "metrics.csv", "\n".join(lines) + "\n")


def pair(root, ours, theirs, seed=0, **options):
    """One run of entropy and one of random, with three cycles each."""
    for row, values in (("entropy", ours), ("random", theirs)):
        folder = make_run(root, "t", row, seed=seed, num_cycles=3)
        set_metrics(folder, values, **{name: value[row] for name, value in options.items()})


def slow_area(row, seed):
    values = [accuracy(row, cycle, seed) for cycle in range(5)]
    return sum((a + b) / 2 for a, b in pairwise(values)) / 4


def test_areas_and_paired_differences_against_the_slow_ones(tmp_path):
    for seed in range(4):
        for row in ("random", "entropy", "kcenter"):
            make_run(tmp_path, "t", row, seed=seed)
    (table,), notes = compare(tmp_path)
    assert (table.reference, table.low, table.high, notes) == ("random", 40, 120, [])
    p_values = []
    for line in table.lines:
        areas = [slow_area(line.label, seed) for seed in range(4)]
        assert line.area.mean == pytest.approx(sum(areas) / 4) and line.area.num_seeds == 4
        if line.label != "random":
            gains = [area - slow_area("random", seed) for seed, area in enumerate(areas)]
            assert line.area_gain.values == pytest.approx(gains)
            assert line.p_value == pytest.approx(paired_p_value(gains))
            last = [accuracy(line.label, 4, seed) - accuracy("random", 4, seed) for seed in range(4)]
            assert line.final_gain.values == pytest.approx(last)
            p_values.append((line.p_value, line.adjusted))
    (small, adjusted), (large, unchanged) = sorted(p_values)
    assert adjusted == pytest.approx(min(2 * small, 1)) and unchanged == pytest.approx(max(large, adjusted))


def test_labels_saved_by_hand(tmp_path):
    objects = {"entropy": [100, 200, 400], "random": [100, 180, 260]}
    pair(tmp_path, [0.5, 0.7, 0.8], [0.5, 0.55, 0.6], objects=objects)
    (table,), _ = compare(tmp_path)
    entropy, random = table.lines
    # random has 0.6 at 80 images (260 objects), entropy at 50 (150 objects)
    assert entropy.images.values == pytest.approx((30,)) and entropy.objects.values == pytest.approx((110,))
    assert random.images is None and random.area_gain is None
    assert dict(zip(head_of(table), shown(table)[0], strict=True))["objects saved"] == "+110"
    assert [len(row) for row in shown(table)] == [len(head_of(table))] * 2


def test_objects_must_be_counted_in_both(tmp_path):
    pair(tmp_path, [0.5, 0.7, 0.8], [0.5, 0.55, 0.6], objects={"entropy": [1, 2, 3], "random": None})
    (table,), _ = compare(tmp_path)
    assert table.lines[0].objects is None and table.lines[0].images is not None
    assert "objects saved" not in head_of(table) and len(shown(table)[0]) == len(head_of(table))


def test_too_few_seeds_have_neither_interval_nor_test(tmp_path):
    for seed in range(2):
        pair(tmp_path, [0.5, 0.7, 0.8], [0.5, 0.55, 0.6 + seed / 10], seed=seed)
    (table,), _ = compare(tmp_path)
    line = table.lines[0]
    assert (line.num_pairs, line.p_value, line.adjusted, line.area_gain.interval) == (2, None, None, None)
    cells = shown(table)
    assert cells[0][5] == "too few seeds (2)" and "[" not in "".join(cells[0])
    assert cells[1][2] == "reference"


def test_only_runs_with_the_same_initial_set_are_paired(tmp_path):
    for seed in range(3):
        pair(tmp_path, [0.5, 0.7, 0.8], [0.5, 0.55, 0.6 + seed / 10], seed=seed)
    pools = sorted((tmp_path / "t" / "entropy").glob("*/cycle_00/pool.csv"))
    pools[1].write_text(pools[1].read_text().replace("\n0,0", "\n399,0"))
    pools[2].unlink()
    (table,), (note,) = compare(tmp_path)
    assert table.lines[0].num_pairs == 1
    assert "no paired differences of entropy in seed 1, 2" in note


def test_seeds_without_a_partner_count_for_the_area_alone(tmp_path):
    pair(tmp_path, [0.5, 0.7, 0.8], [0.5, 0.55, 0.6])
    set_metrics(make_run(tmp_path, "t", "entropy", seed=5, num_cycles=3), [0.6, 0.8, 0.9])
    (table,), notes = compare(tmp_path)
    assert (table.lines[0].area.num_seeds, table.lines[0].num_pairs, notes) == (2, 1, [])
    set_metrics(make_run(tmp_path, "t", "margin", seed=7, num_cycles=3), [0.6, 0.8, 0.9])
    (table,), _ = compare(tmp_path)
    assert shown(table)[1] == ["margin", "77.50 (n=1)", "—", "—", "—", "too few seeds (0)", "—", "0"]


def test_unfinished_and_broken_runs_do_not_count(tmp_path):
    pair(tmp_path, [0.5, 0.7, 0.8], [0.5, 0.55, 0.6])
    make_run(tmp_path, "t", "entropy", seed=1, num_cycles=3, done=2)
    set_metrics(make_run(tmp_path, "t", "entropy", seed=2, num_cycles=3), [0.5, "nan", 0.7])
    (table,), _ = compare(tmp_path)
    assert table.lines[0].area.num_seeds == 1


def test_training_on_all_data_has_no_curve(tmp_path):
    make_sweep(tmp_path)
    (table,), _ = compare(tmp_path)
    assert [line.label for line in table.lines if line.label.startswith(("all_data", "bald"))] == []
    assert len(table.lines) == 6


def test_curves_are_compared_where_all_have_them(tmp_path):
    labeled = {"entropy": [40, 60, 100], "random": [50, 60, 80]}
    pair(tmp_path, [0.4, 0.6, 0.8], [0.4, 0.5, 0.6], labeled=labeled)
    (table,), _ = compare(tmp_path)
    assert (table.low, table.high) == (50, 80)
    assert table.lines[0].area.mean == pytest.approx((0.55 * 10 + 0.65 * 20) / 30)
    assert table.lines[0].final.mean == pytest.approx(0.7)


def test_curves_without_a_common_stretch_are_told(tmp_path):
    pair(tmp_path, [0.4, 0.6, 0.8], [0.4, 0.5, 0.6], labeled={"entropy": [10, 20, 30], "random": [30, 40, 50]})
    tables, notes = compare(tmp_path)
    assert tables == [] and "no stretch in common" in notes[0]


def test_where_low_is_good_the_lower_curve_saves(tmp_path):
    pair(tmp_path, [0.8, 0.6, 0.4], [0.8, 0.7, 0.6], metric={"entropy": "test/loss", "random": "test/loss"})
    (table,), _ = compare(tmp_path)
    entropy = table.lines[0]
    assert entropy.area.mean == pytest.approx(0.6) and entropy.area_gain.values == pytest.approx((-0.1,))
    assert entropy.images.values == pytest.approx((20,)) and entropy.final_gain.values == pytest.approx((-0.2,))


def test_the_reference_is_named_or_random_or_the_first(tmp_path):
    pair(tmp_path, [0.5, 0.7, 0.8], [0.5, 0.55, 0.6])
    assert compare(tmp_path, "entropy")[0][0].reference == "entropy"
    assert compare(tmp_path, "ssl")[0][0].reference == "random"


def test_a_single_row_is_not_compared(tmp_path):
    make_run(tmp_path, "t", "random")
    make_run(tmp_path, "t", "entropy", done=0)
    assert compare(tmp_path) == ([], [])


def test_the_files_hold_the_same(tmp_path):
    for seed in range(3):
        pair(tmp_path, [0.5, 0.7, 0.8 + seed / 100], [0.5, 0.55, 0.6], seed=seed)
    tables, _ = compare(tmp_path)
    line = tables[0].lines[0]
    entropy, random = csv.DictReader(io.StringIO(acquisition_csv(tables)))
    assert float(entropy["area_gain"]) == pytest.approx(line.area_gain.mean)
    assert (float(entropy["area_gain_low"]), float(entropy["area_gain_high"])) == pytest.approx(line.area_gain.interval)
    assert float(entropy["p_holm"]) == pytest.approx(line.adjusted)
    assert (entropy["pairs"], entropy["objects_saved"], random["p"], random["row"]) == ("3", "", "", "random")
    text = acquisition_markdown(tables)
    assert "## digits: test accuracy (%) from 40 to 80 labeled images, against random" in text
    mean = 100 * line.area_gain.mean
    assert f"| {mean:+.2f} [" in text
