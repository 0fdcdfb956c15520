"""Columns made of a metric, computed by hand."""

import pytest
from fake_files import hash_of, write_progress
from fake_runs import make_paper

from alpl.errors import DataError
from alpl.machine.files import write_json, write_text
from alpl.report import write_report
from alpl.report.judged.beside import compare
from alpl.report.judged.derived import derived_tables, measured
from alpl.report.read.aggregate import group
from alpl.report.read.cycles import at_cycle
from alpl.report.read.measures import read_measures
from alpl.report.read.metric_rows import with_metric_rows
from alpl.report.read.paper import joined_reports
from alpl.report.read.printed import read_printed
from alpl.runs.results import find_runs

M = "test/accuracy"
VALUES = {  # (row, seed): accuracy by cycle
    ("random", 0): (0.5, 0.6, 0.8), ("random", 1): (0.4, 0.5, 0.5),
    ("entropy", 0): (0.5, 0.9, 0.88), ("entropy", 1): (0.4, 0.6, 0.6),
    ("all_data", 0): (0.8,), ("all_data", 1): (1.0,),
}  # fmt: skip


def make(root, row, seed, values, setting=1, report=None, changes=()):
    config = {"data": {"name": "digits"}, "row": row, "acquisition": {"alpha": setting}, "seed": seed}
    key, variant = hash_of(config), hash_of({**config, "seed": None})
    folder = root / "t" / row / f"digits-seed{seed}-{key[:8]}"
    about = {"table": "t", "row": row, "data": "digits", "seed": seed, "key": key, "variant": variant}
    about |= {"num_cycles": len(values), "report": report, "config": config, "changes": list(changes)}
    write_json(folder / "run.json", about)
    lines = [f"{c},{10 * (c + 1) if len(values) > 1 else 99},{v},{v / 2}" for c, v in enumerate(values)]
    write_progress(folder, [f"cycle,num_labeled,{M},teacher/accuracy", *lines], [], finished=True, error=None)
    if len(values) == 1:
        text = "# num_images=1 num_labeled=1\nindex,cycle\n0,0\n"
        write_text(folder / "cycle_00" / "pool.csv", text)
    return folder


@pytest.fixture
def variants(tmp_path):
    for (row, seed), values in VALUES.items():
        make(tmp_path, row, seed, values)
    return group(find_runs([tmp_path]))


def measure(**entry):
    return read_measures([{"columns": "cycles", **entry}])[0]


def means(made):
    return {variant.row: [pytest.approx(point.mean) for point in variant.curve(M)] for variant in made}


def test_relative_to_all_data_of_the_same_seed(variants):
    found = means(measured(variants, measure(measure="relative", of="all_data")))
    # entropy: (0.5 / 0.8 + 0.4 / 1) / 2 and so on; all data has one cycle, which counts for each
    assert found["entropy"] == [0.5125, 0.8625, 0.85] and found["random"] == [0.5125, 0.625, 0.75]
    assert "all_data" not in found


def test_improvement_over_a_row(variants):
    one = measure(measure="improvement", of={"entropy": "random"})
    found = means(measured(variants, one))
    assert found["entropy"] == [0.0, (0.5 + 0.2) / 2, (0.1 + 0.2) / 2] and list(found) == ["entropy"]
    assert one.title == "improvement over random (%)"


def test_rise_over_the_own_cycle_0(variants):
    found = means(measured(variants, measure(measure="rise")))
    assert found["entropy"] == [0.0, 0.3, 0.29] and found["random"] == [0.0, 0.1, 0.2]


@pytest.mark.parametrize(("cycle", "value"), [("last", 0.74), ("mean", 0.6466666), (1, 0.75)])
def test_which_cycle_a_single_number_is_of(variants, cycle, value):
    entropy = next(variant for variant in variants if variant.row == "entropy")
    chosen = at_cycle(entropy, cycle)
    assert chosen.curve(M)[-1].mean == pytest.approx(value, abs=1e-6)
    assert chosen.curve(M)[-1].cycle == chosen.num_cycles - 1


def write_paper(root, text):
    write_text(root / "a" / "t.paper.csv", "row,column,mean,std\n" + text)
    return root / "a" / "t.paper.csv"


def test_a_derived_column_stands_beside_the_printed_one(variants, tmp_path):
    path = write_paper(tmp_path, "All,acc,90,\nAll,rel,100,\nEnt,acc,74,\nEnt,rel,84,\nOther,acc,1,\nOther,rel,1,\n")
    report = {"paper": "a/t.paper.csv", "rows": {"all_data": "All", "entropy": "Ent"}, "columns": {"digits": "acc"}}
    report |= {"scale": 100, "derived": [{"measure": "relative", "of": "all_data", "columns": {"digits": "rel"}}]}
    (one,) = derived_tables(joined_reports([report]), read_printed(path), variants)
    assert [(line.paper_row, line.label) for line in one.lines] == [("Ent", "entropy"), ("Other", ""), ("", "random")]
    cell = one.lines[0].cells[0]
    assert (cell.paper_mean, cell.column, one.title) == ("84", "rel", "relative to all_data (%)")
    assert cell.difference == pytest.approx(1.0) and not one.is_main


def test_derived_columns_need_no_paper(variants, tmp_path):
    report = {"derived": [{"measure": "improvement", "of": "random", "columns": "cycles"}], "scale": 100}
    (one,) = derived_tables(joined_reports([report]), {}, variants)
    assert [line.label for line in one.lines] == ["entropy"] and not one.is_printed and not one.is_judged
    assert [cell.ours_text.split(" ")[0] for cell in one.lines[0].cells] == ["0.00", "35.00", "15.00"]
    for (row, seed), values in VALUES.items():
        make(tmp_path / "r", row, seed, values, report=report)
    page = write_report("t", find_runs([tmp_path / "r"]), tmp_path / "out").read_text()
    assert "Of our numbers alone: digits, improvement over random (%)" in page and "Beside the paper" not in page
    assert "## digits, improvement over random (%)\n" in (tmp_path / "out" / "table.md").read_text()


def test_the_cycle_of_the_tables_own_column(variants, tmp_path):
    write_paper(tmp_path, "Ent,acc,75,\n")
    report = {"paper": "a/t.paper.csv", "rows": {"entropy": "Ent"}, "columns": {"digits": "acc"}, "scale": 100}
    (one,) = compare(joined_reports([{**report, "cycle": 1}]), variants, tmp_path)
    assert one.lines[0].cells[0].difference == pytest.approx(0.0)


def test_columns_are_values_of_a_setting(tmp_path):
    for alpha, value in ((0.1, 0.7), (0.5, 0.9)):
        make(tmp_path, "noris", 0, (0.5, value), alpha)
    make(tmp_path, "noris", 1, (0.5, 0.1), 0.5, changes=("x=1 (2)",))
    write_paper(tmp_path, "NORIS,0.1,70,\nNORIS,0.5,88,\nNORIS,1.0,99,\n")
    columns = {"key": "acquisition.alpha", "values": {0.1: "0.1", 0.5: "0.5", 1.0: "1.0"}}
    report = {"paper": "a/t.paper.csv", "rows": {"noris": "NORIS"}, "columns": columns, "scale": 100}
    (one,) = compare(joined_reports([report]), group(find_runs([tmp_path])), tmp_path)
    (line,) = one.lines
    assert [cell.paper_mean for cell in line.cells] == ["70", "88", "99"]
    assert line.cells[0].ours.mean == 0.7 and line.cells[2].ours is None and line.cells[2].status == "not run"
    assert one.headings == ("accuracy, alpha 0.1", "accuracy, alpha 0.5", "accuracy, alpha 1")


def test_a_second_metric_is_a_row(variants):
    rows = joined_reports([{"metric_rows": {"teacher": {"row": "random", "metric": "teacher/accuracy"}}}]).metric_rows
    found = with_metric_rows(variants, rows)
    assert [variant.label for variant in found] == ["all_data", "entropy", "random", "teacher"]
    assert [point.mean for point in found[-1].curve(M)] == pytest.approx([0.225, 0.275, 0.325])
    assert found[-1].is_derived and not found[-2].is_derived


@pytest.mark.parametrize(
    ("report", "message"),
    [
        ({"derived": "rise"}, "report.derived must be a list"),
        ({"derived": [{"measure": "rises", "columns": "cycles"}]}, r"report.derived\[0\].measure must be one of"),
        ({"derived": [{"measure": "rise", "of": "x", "columns": "cycles"}]}, r"report.derived\[0\].of must name"),
        ({"derived": [{"measure": "relative", "columns": "cycles"}]}, r"report.derived\[0\].of must name"),
        ({"derived": [{"measure": "rise"}]}, r"report.derived\[0\].columns must be cycles or map"),
        ({"derived": [{"measure": "rise", "columns": "cycles", "cycle": -1}]}, r"report.derived\[0\].cycle must be"),
        ({"cycle": "first"}, "report.cycle must be last, mean or the number of a cycle, got 'first'"),
        ({"metric_rows": {"t": {"row": "x"}}}, "report.metric_rows.t must have a row and a metric"),
        ({"figures": "curves"}, "report.figures must be a list or a mapping"),
        ({"draws": "Fig. 3"}, "report.draws must be a list"),
    ],
)
def test_keys_that_say_something_else_are_refused(report, message):
    with pytest.raises(DataError, match=message):
        joined_reports([report])


def test_a_paper_with_relative_columns_is_shown_whole(tmp_path):
    report = make_paper(tmp_path / "experiments")
    report |= {"derived": [{"measure": "relative", "of": "all_data", "columns": {"digits": "Digits rel%"}}]}
    for (row, seed), values in VALUES.items():
        make(tmp_path / "r", row, seed, values, report=report)
    page = write_report("t", find_runs([tmp_path / "r"]), tmp_path / "out", tmp_path / "experiments").read_text()
    assert page.count("relative to all_data (%)") == 2, "in the contents and above the table"
