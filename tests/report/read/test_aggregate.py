import json
import statistics

import pytest
from fake_runs import accuracy, make_run
from hypothesis import given
from hypothesis import strategies as st

from alpl.machine.files import read_json, write_json
from alpl.report.read.aggregate import group, mean_std, primary_metric, seconds
from alpl.runs.results import find_runs


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=9))
def test_mean_std_is_the_sample_standard_deviation(values):
    mean, std = mean_std(values)
    assert mean == pytest.approx(statistics.fmean(values), abs=1e-9)
    assert std == pytest.approx(statistics.stdev(values), abs=1e-9)


def test_points_are_means_over_the_seeds_that_came_so_far(tmp_path):
    for seed, done in ((0, 5), (1, 3), (2, 5)):
        make_run(tmp_path, "t", "random", seed=seed, done=done)
    (variant,) = group(find_runs([tmp_path]))
    curve = variant.curve("test/accuracy")
    assert [(p.cycle, p.num_labeled, p.num_seeds) for p in curve] == [
        (0, 40, 3), (1, 60, 3), (2, 80, 3), (3, 100, 2), (4, 120, 2),
    ]  # fmt: skip
    values = [accuracy("random", 4, seed) for seed in (0, 2)]
    assert curve[4].mean == pytest.approx(statistics.fmean(values))
    assert curve[4].std == pytest.approx(statistics.stdev(values))


def test_one_seed_has_no_deviation(tmp_path):
    make_run(tmp_path, "t", "random")
    (variant,) = group(find_runs([tmp_path]))
    assert {point.std for point in variant.curve("test/accuracy")} == {None}


def test_the_first_test_column_is_primary(tmp_path):
    make_run(tmp_path, "t", "a", done=0)
    make_run(tmp_path, "t", "b")
    variants = group(find_runs([tmp_path]))
    assert variants[1].metrics == ("test/accuracy", "test/loss")
    assert primary_metric(variants) == "test/accuracy"
    assert primary_metric(variants[:1]) is None


def test_what_is_measured_beside_the_tests_is_primary_only_where_it_is_named(tmp_path):
    folder = make_run(tmp_path, "t", "a", num_cycles=1)
    (folder / "metrics.csv").write_text("cycle,num_labeled,l1_score,test/accuracy\n0,40,0.25,0.5\n")
    variants = group(find_runs([tmp_path]))
    assert variants[0].metrics == ("test/accuracy", "l1_score")
    assert primary_metric(variants) == primary_metric(variants, "map") == "test/accuracy"
    assert primary_metric(variants, "l1_score") == "l1_score"
    assert primary_metric(variants, "accuracy") == primary_metric(variants, "test/accuracy") == "test/accuracy"


def test_variants_of_one_row_are_told_apart_by_the_leaves_that_differ(tmp_path):
    for seed in (0, 1):
        make_run(tmp_path, "t", "dispersion", seed=seed)
    make_run(tmp_path, "t", "dispersion", seed=2, lr=0.1)
    make_run(tmp_path, "t", "dispersion", data="letters", lr=0.1)
    make_run(tmp_path, "t", "random")
    variants = group(find_runs([tmp_path]))
    assert [(v.data, v.label, len(v.runs)) for v in variants] == [
        ("digits", "dispersion (lr=0.02)", 2),
        ("digits", "dispersion (lr=0.1)", 1),
        ("digits", "random", 1),
        ("letters", "dispersion", 1),
    ]


def test_variants_that_differ_in_nothing_that_is_shown_keep_their_hash(tmp_path):
    for lr in (0.1, 0.2):
        folder = make_run(tmp_path, "t", "random", lr=lr)
        about = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps({**about, "config": {"seed": lr}}))
    labels = [variant.label for variant in group(find_runs([tmp_path]))]
    assert len(set(labels)) == 2
    assert all(label.startswith("random (") for label in labels)


def test_rows_come_in_the_order_of_the_report_then_by_name(tmp_path):
    for row in ("a", "b", "c", "d"):
        make_run(tmp_path, "t", row)
    assert [v.row for v in group(find_runs([tmp_path]), ["d", "b", "unknown"])] == ["d", "b", "a", "c"]


def test_seconds_are_means_in_the_order_of_the_loop(tmp_path):
    for seed in (0, 1):
        make_run(tmp_path, "t", "random", seed=seed, num_cycles=2)
    (variant,) = group(find_runs([tmp_path]))
    found = seconds(variant)
    assert list(found)[:5] == [(0, "fit"), (0, "test"), (0, "predict"), (0, "select"), (1, "fit")]
    assert found[0, "predict"] == (3 * (0.5 + 1.0) / 2, 2)


def test_labels_name_leaves_in_few_letters(tmp_path):
    for number in (1, 2):
        folder = make_run(tmp_path, "t", "random", lr=number)
        about = read_json(folder / "run.json")
        write_json(folder / "run.json", about | {"config": {"one": {"kind": f"{'a' * 40}{number}"}}})
    variants = group(find_runs([tmp_path]))
    hashes = [variant.runs[0].variant[:8] for variant in variants]
    assert [v.label for v in variants] == [f"random (kind={'a' * 23}…, {one})" for one in sorted(hashes)]


def test_labels_name_leaves_that_end_alike_in_full(tmp_path):
    for first, second in ((1, 2), (2, 3)):
        folder = make_run(tmp_path, "t", "random", lr=first)
        about = read_json(folder / "run.json")
        write_json(folder / "run.json", about | {"config": {"one": {"lr": first}, "two": {"lr": second}}})
    labels = [variant.label for variant in group(find_runs([tmp_path]))]
    assert labels == ["random (one.lr=1, two.lr=2)", "random (one.lr=2, two.lr=3)"]
