import pytest
from fake_detection import make_cycle_paper, make_detection_run, make_detection_sweep

from alpl.report.drawn.curves import learning_curves
from alpl.report.drawn.material import Material
from alpl.report.drawn.style import line_styles
from alpl.report.judged.beside import compare
from alpl.report.judged.paper_curves import paper_curves
from alpl.report.read.aggregate import group
from alpl.report.read.paper import paper_table
from alpl.report.read.tables import wide_tables
from alpl.runs.results import find_runs

near = pytest.approx


def curves(root):
    runs = find_runs([root / "runs"])
    about = paper_table(runs)
    variants = group(runs, tuple(about.rows))
    comparisons = compare(about, variants, root / "experiments")
    return {table.data: (table, paper_curves(table, comparisons)) for table in wide_tables(variants)}


def materials(root):
    runs = find_runs([root / "runs"])
    about = paper_table(runs)
    variants = group(runs, tuple(about.rows))
    tables, comparisons = wide_tables(variants), compare(about, variants, root / "experiments")
    styles = line_styles(variant.label for variant in variants)
    return {table.data: Material((table,), styles, paper=tuple(comparisons)) for table in tables}


def test_the_papers_cycles_stand_at_our_labeled_images(tmp_path):
    make_detection_sweep(tmp_path / "runs", report=make_cycle_paper(tmp_path / "experiments"))
    found = curves(tmp_path)
    voc = found["voc0712"][1]
    assert voc["random"] == [(20, near(60.82)), (30, near(64.23)), (40, near(66.33))]
    assert voc["pl"] == [(30, near(69.6)), (40, near(70.9))]  # nothing is printed for cycle 0
    assert set(voc) == {"random", "pl", "elezi"}  # LLAL was not run, the paper has no ssl
    assert found["digit_scenes"][1] == {}  # other data


def test_a_row_that_two_of_ours_stand_for_has_one_curve(tmp_path):
    report = make_cycle_paper(tmp_path / "experiments")
    for row in ("elezi", "elezi_as_released"):
        make_detection_run(tmp_path / "runs", "t", row, report=report)
    assert set(curves(tmp_path)["voc0712"][1]) == {"elezi"}


@pytest.mark.parametrize(("change", "drawn"), [("schedule.budget=5 (1000)", False), ("trainer.max_steps=5 (9)", True)])
def test_another_schedule_has_other_cycles(tmp_path, change, drawn):
    report = make_cycle_paper(tmp_path / "experiments")
    make_detection_run(tmp_path / "runs", "t", "random", report=report, overridden=(change,))
    assert ("random" in curves(tmp_path)["voc0712"][1]) == drawn


def test_the_figure_shows_them_dashed_in_the_rows_color(tmp_path, monkeypatch):
    make_detection_sweep(tmp_path / "runs", report=make_cycle_paper(tmp_path / "experiments"))
    table, paper = curves(tmp_path)["voc0712"]
    styles = materials(tmp_path)["voc0712"].styles
    seen = []
    monkeypatch.setattr("alpl.report.drawn.curves.png", lambda figure: seen.append(figure) or b"")
    material = materials(tmp_path)["voc0712"]
    learning_curves(material)
    (axes,) = seen[0].axes
    dashed = {line.get_color(): line for line in axes.lines if line.get_linestyle() == "--" and len(line.get_xdata())}
    assert set(dashed) == {styles[label].color for label in paper}
    assert list(dashed[styles["random"].color].get_ydata()) == pytest.approx([60.82, 64.23, 66.33])
    labels = [text.get_text() for text in seen[0].legends[0].get_texts()]
    assert labels == [*(variant.label for variant in table.variants), "the paper's numbers"]
    learning_curves(material, paper=False)
    assert "the paper's numbers" not in [text.get_text() for text in seen[1].legends[0].get_texts()]
