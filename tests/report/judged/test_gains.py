import statistics

import pytest
from fake_runs import GAIN, accuracy, make_run

from alpl.machine.files import write_text
from alpl.report.judged.beside import compare
from alpl.report.judged.gains import gains
from alpl.report.read.aggregate import group
from alpl.report.read.paper import paper_table
from alpl.runs.results import find_runs

PRINTED = "row,column,mean,std\nEntropy CB,cycle_1,0.54,\nEntropy CB,cycle_2,0.86,\nVAAL CB,cycle_1,0.57,\n"


def points(variants, row):
    """{cycle: (mean, std, seeds)} of the accuracy."""
    (variant,) = [one for one in variants if one.row == row]
    return {p.cycle: (p.mean, p.std, p.num_seeds) for p in variant.curve("test/accuracy")}


def test_a_gain_is_the_difference_seed_by_seed(tmp_path):
    for seed in range(3):
        make_run(tmp_path, "t", "entropy", seed=seed)
        make_run(tmp_path, "t", "random", seed=seed, done=4 if seed == 2 else 5)
    found = gains(group(find_runs([tmp_path])), {"entropy": "random"})
    assert [(one.label, one.row) for one in found] == [("entropy less random", "entropy")]
    own = points(found, "entropy")
    for cycle, seeds in ((0, 3), (3, 3), (4, 2)):
        values = [accuracy("entropy", cycle, seed) - accuracy("random", cycle, seed) for seed in range(seeds)]
        assert own[cycle][:2] == pytest.approx((statistics.fmean(values), statistics.stdev(values)))
        assert own[cycle][2] == seeds


def test_the_other_row_is_on_the_very_same_data(tmp_path):
    for data, shift in (("digits", 0.0), ("letters", 0.25)):
        for row in ("entropy", "random"):
            folder = make_run(tmp_path, "t", row, data=data, num_cycles=1)
            value = shift + GAIN[row] if row == "entropy" else 0.0
            write_text(folder / "metrics.csv", f"cycle,num_labeled,test/accuracy\n0,40,{value}\n")
    found = gains(group(find_runs([tmp_path])), {"entropy": "random"})
    assert {one.data: one.curve("test/accuracy")[0].mean for one in found} == pytest.approx(
        {"digits": GAIN["entropy"], "letters": 0.25 + GAIN["entropy"]}
    )


def test_a_table_of_gains_stands_beside_the_papers(tmp_path):
    write_text(tmp_path / "table.paper.csv", PRINTED)
    report = {"paper": "table.paper.csv", "columns": "cycles", "data": "digits", "scale": 100}
    report |= {"rows": {"entropy": "Entropy CB", "dispersion": "VAAL CB"}, "missing": {"VAAL CB": "no VAAL"}}
    report["gain_over"] = {"entropy": "random", "dispersion": "kcenter"}
    for row in ("entropy", "random", "dispersion"):
        make_run(tmp_path / "runs", "t", row, report=report)
    runs = find_runs([tmp_path / "runs"])
    (found,) = compare(paper_table(runs), group(runs), tmp_path)
    assert [(line.paper_row, line.label) for line in found.lines] == [
        ("Entropy CB", "entropy less random"), ("VAAL CB", "dispersion less kcenter"),
    ]  # fmt: skip
    cell = found.lines[0].cells[2]
    assert cell.ours.mean == pytest.approx(accuracy("entropy", 2, 0) - accuracy("random", 2, 0))
    assert cell.difference == pytest.approx(100 * cell.ours.mean - 0.86)
    assert (found.lines[1].cells[1].ours, found.lines[1].cells[1].status) == (None, "unfinished")  # kcenter was not run
