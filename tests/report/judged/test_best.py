"""Bold is what can be told from all others, and nothing else."""

import pytest
from fake_runs import make_run

from alpl.machine.files import write_text
from alpl.report import write_report
from alpl.report.judged.best import is_best
from alpl.report.page.sheets import wide_sheet
from alpl.report.read.aggregate import group
from alpl.report.read.tables import wide_tables
from alpl.runs.results import find_runs


def table_of(root, values):
    for row, finals in values.items():
        for seed, final in enumerate(finals):
            folder = make_run(root, "t", row, seed=seed, num_cycles=2)
            write_text(folder / "metrics.csv", f"cycle,num_labeled,test/accuracy\n0,40,0.5\n1,60,{final!r}\n")
    (table,) = wide_tables(group(find_runs([root])))
    return table


@pytest.mark.parametrize(
    ("others", "is_told"),
    [
        ([[0.70, 0.71, 0.72]], True),
        ([[0.80, 0.79, 0.81]], False),  # within the intervals
        ([[0.70, 0.71, 0.72], [0.80, 0.79, 0.81]], False),  # one of two
        ([[0.70]], False),  # a single seed has no interval
    ],
)
def test_the_best_mean_is_marked_where_it_can_be_told_from_all_others(tmp_path, others, is_told):
    table = table_of(tmp_path, {"best": [0.82, 0.81, 0.83]} | {f"other{n}": finals for n, finals in enumerate(others)})
    assert table.variants[0].label == "best" and table.is_best(0, 1)
    assert is_best(table, 0, 1) is is_told and not is_best(table, 1, 1)
    assert not is_best(table, 0, 0)  # all alike
    assert [line[2].is_best for line in wide_sheet(table).lines] == [is_told] + [False] * len(others)


def test_the_page_has_it_in_bold(tmp_path):
    table_of(tmp_path, {"best": [0.82, 0.81, 0.83], "other": [0.70, 0.71, 0.72]})
    html = write_report("t", find_runs([tmp_path]), tmp_path / "out").read_text(encoding="utf-8")
    assert "<b>82.00 ± 1.00</b>" in html and html.count("<b>") == 1
