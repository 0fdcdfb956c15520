import csv
import io
import statistics

import pytest
from fake_runs import accuracy, make_run, make_sweep

from alpl.report.page.sheets import sheet_markdown, wide_sheet
from alpl.report.read.aggregate import group
from alpl.report.read.tables import long_csv, seconds_csv, terminal, wide_tables
from alpl.runs.results import find_runs


@pytest.fixture(scope="module")
def variants(tmp_path_factory):
    return group(find_runs([make_sweep(tmp_path_factory.mktemp("runs"))]))


def test_long_csv_holds_every_metric_as_measured(variants):
    lines = list(csv.DictReader(io.StringIO(long_csv(variants))))
    assert list(lines[0]) == ["data", "row", "cycle", "num_labeled", "metric", "mean", "std", "seeds"]
    (line,) = [x for x in lines if (x["row"], x["cycle"], x["metric"]) == ("random", "3", "test/accuracy")]
    values = [accuracy("random", 3, seed) for seed in range(3)]
    assert float(line["mean"]) == pytest.approx(statistics.fmean(values), abs=1e-12)
    assert float(line["std"]) == pytest.approx(statistics.stdev(values), abs=1e-12)
    assert (line["num_labeled"], line["seeds"]) == ("100", "3")
    assert {x["std"] for x in lines if x["seeds"] == "1"} == {""}
    assert {x["metric"] for x in lines} == {"test/accuracy", "test/loss"}


def test_wide_columns_are_numbers_of_labeled_images(variants):
    (table,) = wide_tables(variants)
    assert table.columns == (40, 60, 80, 100, 120, 400)
    by_label = {variant.label: cells for variant, cells in zip(table.variants, table.cells, strict=True)}
    assert [cell is None for cell in by_label["all_data"]] == [True] * 5 + [False]
    assert all(cell is None for cell in by_label["bald"])


def test_best_is_the_highest_mean_among_at_least_two(variants):
    (table,) = wide_tables(variants)
    labels = [variant.label for variant in table.variants]
    for column in range(5):
        means = {n: row[column].mean for n, row in enumerate(table.cells) if row[column] is not None}
        best = max(means, key=means.__getitem__)
        assert [table.is_best(line, column) for line in range(len(labels))] == [n == best for n in range(len(labels))]
    assert not table.is_best(labels.index("all_data"), 5)


def test_the_best_of_a_metric_of_imbalance_is_the_lowest(tmp_path):
    for row, value in (("a", 0.3), ("b", 0.1)):
        folder = make_run(tmp_path, "t", row, num_cycles=1)
        (folder / "metrics.csv").write_text(f"cycle,num_labeled,test/accuracy,l1_score\n0,40,0.5,{value}\n")
    (table,) = wide_tables(group(find_runs([tmp_path])), "l1_score")
    assert [table.is_best(line, 0) for line in (0, 1)] == [False, True] and table.text(1, 0) == "0.1000"


def test_cells_that_lack_seeds_say_how_many_there_are(variants):
    (table,) = wide_tables(variants)
    line = [variant.label for variant in table.variants].index("entropy")
    assert "±" in table.text(line, 2) and "n=" not in table.text(line, 2)
    assert table.text(line, 3) == f"{100 * accuracy('entropy', 3, 1):.2f} (n=1)"


def test_markdown_escapes_the_column_mark(tmp_path):
    make_run(tmp_path, "t", "a|b")
    make_run(tmp_path, "t", "c")
    (table,) = wide_tables(group(find_runs([tmp_path])))
    lines = sheet_markdown(wide_sheet(table)).splitlines()
    assert lines[2] == "| acquisition | 40 | 60 | 80 | 100 | 120 | seeds |"
    assert lines[4].startswith("| a\\|b | ")
    assert not any("**" in line for line in lines), "one seed tells nothing apart"


def test_terminal_columns_are_aligned(variants):
    title, *lines = terminal(wide_tables(variants)).splitlines()
    assert title == "digits: test accuracy (%) by labeled images"
    assert {len(line) for line in lines} == {len(lines[0])}


def test_a_data_set_without_a_finished_cycle_says_so(tmp_path):
    make_run(tmp_path, "t", "a", done=0)
    tables = wide_tables(group(find_runs([tmp_path])))
    assert tables[0].metric is None
    assert "no cycle is finished yet" in terminal(tables)
    assert "no cycle is finished yet" in sheet_markdown(wide_sheet(tables[0]))


def test_seconds_csv_has_a_line_a_stage(variants):
    lines = list(csv.DictReader(io.StringIO(seconds_csv(variants))))
    assert {
        "row": "random",
        "data": "digits",
        "cycle": "0",
        "stage": "test",
        "seconds": "2.000",
        "seeds": "3",
    } in lines
