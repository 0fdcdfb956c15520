import csv
import io

import pytest
from fake_detection import make_detection_run, make_detection_sweep, mean_value
from PIL import Image

from alpl.report.drawn.pseudo_labels import counterpart, plot_pseudo_labels, pseudo_csv, pseudo_points
from alpl.report.drawn.style import line_styles
from alpl.report.read.aggregate import group
from alpl.report.read.tables import wide_tables
from alpl.runs.results import find_runs


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    return wide_tables(group(find_runs([make_detection_sweep(tmp_path_factory.mktemp("runs"))])))


def table_of(tables, data="voc0712"):
    return next(one for one in tables if one.data == data)


def test_counts_are_no_metrics(tables):
    for table in tables:
        assert table.metric == "test/map"
        assert {name for variant in table.variants for name in variant.metrics} == {"test/map", "test/map50"}


def test_the_share_is_of_all_objects(tables):
    points = pseudo_points(table_of(tables))
    assert list(points) == ["elezi", "pl"]
    assert [point.counts for point in points["pl"]] == [(100, 0, 0), (200, 40, 90), (300, 40, 90)]
    assert [point.share for point in points["pl"]] == pytest.approx([0.0, 90 / 290, 90 / 390])
    assert [point.num_seeds for point in points["elezi"]] == [2, 1, 1]


def test_no_object_at_all_has_no_share(tmp_path):
    folder = make_detection_run(tmp_path, "t", "pl", num_cycles=1, pseudo=0.9)
    head, _ = (folder / "metrics.csv").read_text().splitlines()
    (folder / "metrics.csv").write_text(f"{head}\n0,20,0,0,0,0.5,0.6\n")
    (table,) = wide_tables(group(find_runs([tmp_path])))
    assert pseudo_points(table)["pl"][0].share is None
    assert plot_pseudo_labels(table, line_styles(["pl"]))


def test_the_gain_is_over_the_config_that_differs_in_nothing_else(tmp_path):
    make_detection_run(tmp_path, "t", "ssl_combined", changes={"tau": 1})
    make_detection_run(tmp_path, "t", "ssl", changes={"tau": 2})
    make_detection_run(tmp_path, "t", "elezi", pseudo=0.99, changes={"tau": 1})
    variants = group(find_runs([tmp_path]))
    by_label = {variant.label: variant for variant in variants}
    assert counterpart(by_label["elezi"], variants) is by_label["ssl_combined"]
    assert counterpart(by_label["ssl"], variants) is None
    (table,) = wide_tables(variants)
    gains = [point.gain for point in pseudo_points(table)["elezi"]]
    expected = [mean_value("elezi", c, 0) - mean_value("ssl_combined", c, 0) for c in range(3)]
    assert gains == pytest.approx(expected)


def test_a_row_without_its_counterpart_has_no_gain(tables):
    assert {p.gain for points in pseudo_points(table_of(tables, "digit_scenes")).values() for p in points} == {None}


def test_runs_that_differ_in_tau2_are_labeled_by_it(tmp_path):
    for tau in (0.5, 0.9, 0.99):
        make_detection_run(tmp_path, "t", "elezi", pseudo=tau)
    labels = [variant.label for variant in group(find_runs([tmp_path]))]
    assert labels == [f"elezi (score_thresh={tau})" for tau in (0.5, 0.9, 0.99)]


def test_the_csv_says_the_same(tables):
    rows = list(csv.DictReader(io.StringIO(pseudo_csv(tables))))
    (one,) = [row for row in rows if (row["data"], row["row"], row["cycle"]) == ("voc0712", "pl", "1")]
    assert (one["num_labeled_objects"], one["num_pseudo_images"], one["num_pseudo_objects"]) == ("200", "40", "90")
    assert float(one["share"]) == pytest.approx(90 / 290) and one["seeds"] == "3"
    assert len(rows) == 3 + 3 + 2


def test_the_gain_has_a_panel_of_its_own(tmp_path, tables):
    def height(table):
        picture = plot_pseudo_labels(table, line_styles([variant.label for variant in table.variants]))
        return Image.open(io.BytesIO(picture)).size[1]

    alone = height(table_of(tables, "digit_scenes"))
    assert height(table_of(tables)) > 1.4 * alone  # "ssl" and "random" have the config of "pl" without pseudo-labels
