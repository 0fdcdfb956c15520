"""Tables whose rows repeat for each value of a setting, or whose columns have names of their own."""

import math

import pytest
from fake_runs import accuracy, make_run

from alpl.errors import DataError
from alpl.report.judged.beside import compare
from alpl.report.read.aggregate import group
from alpl.report.read.paper import Split, joined_reports, paper_table
from alpl.report.read.printed import named_by_cycle
from alpl.report.read.split import part_of, setting_of, split_runs
from alpl.runs.results import find_runs

REPORT = {
    "paper": "printed.csv",
    "columns": "cycles",
    "cycles": {"1": "40%", "3": "60%"},
    "data": "digits",
    "split": {"key": "model.optimizer.lr", "values": {"0.02": "LR=2", "1": "LR=1"}},
    "rows": {"entropy": "{} Ours"},
    "missing": {"LR=1 VAAL": "not there yet"},
    "scale": 100,
}
PRINTED = """row,column,mean,std
LR=2 Ours,40%,70.0,1.0
LR=2 Ours,60%,72.5,
LR=2 Ours,params_M,52.35,
LR=1 Ours,40%,60.0,
LR=1 VAAL,40%,61.0,
LR=20 Ours,40%,10.0,
"""


@pytest.fixture
def comparisons(tmp_path):
    (tmp_path / "printed.csv").write_text(PRINTED)
    for lr in (0.02, 1.0, 0.5):
        for seed in (0, 1):
            make_run(tmp_path, "t", "entropy", seed=seed, lr=lr, report=REPORT)
    runs = find_runs([tmp_path])
    table = paper_table(runs)
    found = compare(table, group(split_runs(runs, table.split)), tmp_path)
    return {one.data: one for one in found}


def cells(comparison):
    return {(line.paper_row, cell.column): cell for line in comparison.lines for cell in line.cells if cell.paper_mean}


def test_each_value_has_its_own_rows_and_runs(comparisons):
    assert set(comparisons) == {"digits, LR=2", "digits, LR=1", "digits"}
    found = cells(comparisons["digits, LR=2"])
    assert {key: cell.paper_mean for key, cell in found.items()} == {
        ("LR=2 Ours", "cycle_1"): "70.0", ("LR=2 Ours", "cycle_3"): "72.5",  # neither LR=20's nor params_M
    }  # fmt: skip
    ours = 100 * sum(accuracy("entropy", 3, seed) for seed in (0, 1)) / 2
    assert found["LR=2 Ours", "cycle_3"].difference == pytest.approx(ours - 72.5)
    assert not comparisons["digits, LR=2"].remark


def test_missing_rows_stand_where_they_are_printed(comparisons):
    found = cells(comparisons["digits, LR=1"])
    assert set(found) == {("LR=1 Ours", "cycle_1"), ("LR=1 VAAL", "cycle_1")}
    assert found["LR=1 VAAL", "cycle_1"].ours_text == "missing: not there yet"


def test_another_value_stands_beside_no_printed_number(comparisons):
    assert cells(comparisons["digits"]) == {}
    assert "about digits (LR=2, LR=1), these runs about digits:" in comparisons["digits"].remark
    assert [cell.difference for line in comparisons["digits"].lines for cell in line.cells] == [None] * 5


def test_without_a_split_nothing_changes(tmp_path):
    make_run(tmp_path, "t", "entropy")
    runs = find_runs([tmp_path])
    assert split_runs(runs, None) == runs
    table = joined_reports([{"rows": {"a": "A"}}])
    printed = {("A", "x"): ("1", "")}
    assert part_of(table, printed, "digits") == (table, printed)
    assert named_by_cycle(table, printed) == printed


@pytest.mark.parametrize(
    ("config", "text"),
    [({"a": {"b": 0.1}}, "0.1"), ({"a": {"b": 1.0}}, "1"), ({"a": {"b": 30}}, "30"), ({"a": {"b": True}}, "True"),
     ({"a": {"b": "swin_t"}}, "swin_t"), ({"a": {}}, None), ({"a": 3}, None), ({}, None)],
)  # fmt: skip
def test_settings_as_text(config, text):
    assert setting_of(config, "a.b") == text


def test_a_run_without_the_setting_keeps_its_data(tmp_path):
    make_run(tmp_path, "t", "entropy", lr=math.nan)
    (run,) = split_runs(find_runs([tmp_path]), Split("model.backbone.name", {"None": "none", "nan": "nan"}))
    assert run.data == "digits"


@pytest.mark.parametrize("given", [{"key": "a"}, {"key": "a", "values": [1]}, {"key": "a", "values": {}, "of": 1}, "a"])
def test_a_wrong_split_is_an_error(given):
    with pytest.raises(DataError, match=r"report\.split must have a key and values"):
        joined_reports([{"split": given}])
