import csv
import io

from fake_detection import make_cycle_paper, make_detection_run, mean_value
from fake_runs import make_paper, make_run

from alpl.report.judged.beside import compare
from alpl.report.judged.comparison import paper_csv
from alpl.report.judged.judging import with_verdicts
from alpl.report.read.aggregate import group
from alpl.report.read.paper import paper_table
from alpl.runs.results import find_runs

HEAD = "row,column,mean,std\n"


def judged(root):
    """{our label or the paper's row: line} of the first table."""
    runs = find_runs([root / "runs"])
    table = paper_table(runs)
    found = with_verdicts(compare(table, group(runs, tuple(table.rows)), root / "experiments")[0], table)
    return found, {line.label or line.paper_row: line for line in found.lines}


def ours(row, cycle):
    """Our mean in percent; the deviation over seeds 0, 1, 2 is 1 point, so the half width alone is 2.4842."""
    return 100 * mean_value(row, cycle, 1)


def make(root, printed, rows=("random", "pl"), seeds=3, report=None, **options):
    """Runs of each row, and a paper that prints ``{(row, cycle): mean}``."""
    text = HEAD + "".join(f"{row},cycle_{cycle},{mean:.2f},\n" for (row, cycle), mean in printed.items())
    about = {**make_cycle_paper(root / "experiments", text), **(report or {})}
    for row in rows:
        for seed in range(seeds):
            make_detection_run(root / "runs", "t", row, seed=seed, report=about, **options)


def words(line):
    return [cell.verdict.word if cell.verdict else None for cell in line.cells]


def test_a_number_within_the_interval_is_reproduced(tmp_path):
    printed = {("Random", c): ours("random", c) + 2.4 for c in range(3)}
    printed |= {("PL", 0): ours("pl", 0) + 5, ("PL", 1): ours("pl", 1) + 2.4, ("PL", 2): ours("pl", 2) - 2.4}
    make(tmp_path, printed)
    found, lines = judged(tmp_path)
    assert found.reference == "Random" and found.settings == ()
    # the paper's gains: 3.75 + 5 - 2.4 = 6.35, 3.75, 3.75 - 4.8 = -1.05: the median is 3.75, more than 2.48
    assert words(lines["random"]) == ["reproduced"] * 3
    assert words(lines["pl"]) == ["trend only", "reproduced", "reproduced"]
    assert lines["random"].verdict.word == "reproduced" and lines["pl"].verdict.word == "trend only"


def test_what_the_paper_contradicts_cannot_be_told(tmp_path):
    printed = {(row, c): ours(row.lower(), c) for row in ("Random", "PL") for c in range(3)}
    make(tmp_path, printed, report={"contradicted": {"PL": {"cycle_1": "Table 9 prints 12.0"}}})
    _, lines = judged(tmp_path)
    assert words(lines["random"]) == ["reproduced"] * 3
    assert words(lines["pl"]) == ["reproduced", "cannot tell", "reproduced"]
    assert lines["pl"].cells[1].verdict.reason == "the paper contradicts itself: Table 9 prints 12.0"


def test_an_interval_as_wide_as_the_papers_gains_tells_nothing(tmp_path):
    printed = {("Random", 0): ours("random", 0), ("PL", 0): ours("random", 0) + 2.4}
    make(tmp_path, printed)
    _, lines = judged(tmp_path)  # the only gain is 2.4, less than the half width of 2.48
    assert words(lines["random"])[0] == words(lines["pl"])[0] == "cannot tell"
    assert "is wider than ± 2.4" in lines["random"].cells[0].verdict.reason


def test_the_bound_is_the_median_gain_and_not_the_largest(tmp_path):
    printed = {("Random", c): ours("random", c) for c in range(3)}
    make(tmp_path, printed | {("PL", c): printed["Random", c] + gain for c, gain in enumerate((2.0, 2.2, 9.0))})
    _, lines = judged(tmp_path)
    assert words(lines["random"]) == ["cannot tell"] * 3
    assert "is wider than ± 2.2" in lines["random"].cells[2].verdict.reason


def test_a_stated_tolerance_takes_the_place_of_the_gains(tmp_path):
    make(tmp_path, {("Random", 0): ours("random", 0), ("PL", 0): ours("random", 0) + 1}, report={"tolerance": 2.5})
    assert words(judged(tmp_path)[1]["random"])[0] == "reproduced"


def test_the_trend_needs_the_papers_sign(tmp_path):
    # our gain is 3.75 in each cycle; two deviations of 1 over 3 seeds each give a half width of 2.267
    printed = {("Random", c): 60.0 for c in range(3)} | {("PL", 0): 70.0, ("PL", 1): 55.0, ("PL", 2): 60.0}
    make(tmp_path, printed)
    _, lines = judged(tmp_path)
    assert words(lines["pl"]) == ["trend only", "not reproduced", "not reproduced"]
    assert words(lines["random"]) == ["not reproduced"] * 3
    assert "gain +3.75 ± 2.3, the paper's +10" in lines["pl"].cells[0].verdict.reason


def test_without_the_reference_row_no_trend_is_told(tmp_path):
    make(tmp_path, {("Random", 0): 60.0, ("PL", 0): 70.0}, rows=("pl",))
    _, lines = judged(tmp_path)
    assert words(lines["pl"])[0] == "cannot tell" and lines["Random"].verdict is None


def test_a_single_seed_tells_nothing(tmp_path):
    make(tmp_path, {("Random", 0): ours("random", 0), ("PL", 0): 70.0}, seeds=1)
    _, lines = judged(tmp_path)
    assert lines["random"].cells[0].verdict.reason == "fewer than 2 seeds"
    assert lines["random"].verdict.word == "cannot tell"


def test_the_papers_deviation_counts_with_its_seeds(tmp_path):
    gap = 4.0  # our half width is 2.48, with the paper's deviation of 3 it is 2.776 to 4.303 times 1.826
    text = HEAD + f"Random,cycle_0,{ours('random', 0) + gap:.2f},3.0\nPL,cycle_0,90.0,\n"
    about = make_cycle_paper(tmp_path / "experiments", text)
    for seeds, expected in ((3, "reproduced"), (None, "not reproduced")):
        for seed in range(3):
            make_detection_run(tmp_path / "runs", "t", "random", seed=seed, report={**about, "paper_seeds": seeds})
        assert words(judged(tmp_path)[1]["random"])[0] == expected


def test_another_setting_is_told_and_not_judged(tmp_path):
    make(tmp_path, {("Random", 0): ours("random", 0), ("PL", 0): 70.0}, overridden=("trainer.max_steps=10 (120000)",))
    found, lines = judged(tmp_path)
    assert words(lines["random"])[0] == "cannot tell" and lines["random"].cells[0].difference is not None
    (remark,) = found.settings
    assert remark.startswith("random, pl: not the experiment's setting")
    assert "trainer.max_steps=10 (120000)." in remark


def test_many_changes_are_counted(tmp_path):
    changes = (*(f"model.part{number}=1 (2)" for number in range(5)), "trainer.max_steps=10 (120000)")
    make(tmp_path, {("Random", 0): 60.0, ("PL", 0): 70.0}, rows=("pl",), overridden=changes)
    assert "Changed are 6 settings of model, trainer" in judged(tmp_path)[0].settings[0]


def test_a_changed_reference_row_gives_no_trend(tmp_path):
    make(tmp_path, {("Random", 0): 60.0, ("PL", 0): 70.0}, rows=("pl",))
    about = find_runs([tmp_path / "runs"])[0].report
    for seed in range(3):
        make_detection_run(tmp_path / "runs", "t", "random", seed=seed, report=about, overridden=("model.lr=1 (2)",))
    found, lines = judged(tmp_path)
    assert words(lines["pl"])[0] == "cannot tell" and found.settings[0].startswith("random: not the experiment's")


def test_runs_that_do_not_say_their_changes_are_not_judged(tmp_path):
    make(tmp_path, {("Random", 0): ours("random", 0), ("PL", 0): 70.0})
    for path in (tmp_path / "runs" / "t" / "pl").glob("*/run.json"):
        path.write_text(path.read_text().replace('"changes"', '"unknown"'))
    found, lines = judged(tmp_path)
    assert words(lines["pl"])[0] == "cannot tell" and "run.json does not say" in found.settings[0]


def test_other_data_is_not_judged(tmp_path):
    make(tmp_path, {("Random", 0): 33.0, ("PL", 0): 70.0}, data="digit_scenes")
    _, lines = judged(tmp_path)
    assert "other data or another metric" in lines["random"].cells[0].verdict.reason


def test_columns_of_data_sets_have_bounds_of_their_own(tmp_path):
    report = make_paper(tmp_path / "experiments")
    (tmp_path / "experiments" / "thesis" / "table3_1.paper.csv").write_text(
        HEAD + "Dispersion,Digits acc,86,\nRandom sampling,Digits acc,77,\n"
        "Dispersion,Letters acc,77,\nRandom sampling,Letters acc,76.9,\n"
    )
    for seed in range(3):
        for row in ("random", "dispersion"):
            for data in ("digits", "letters"):
                make_run(tmp_path / "runs", "t", row, data=data, seed=seed, report=report)
    _, lines = judged(tmp_path)
    # both data sets measure the same here (76.42 ± 0.20): only the bound, 9 or 0.1 points, makes the difference
    assert words(lines["random"]) == ["reproduced", "cannot tell"]


def test_tables_of_gains_are_judged_by_their_own_sign(tmp_path):
    text = HEAD + "PL,cycle_0,9.75,\nPL,cycle_1,-3.75,\nPL,cycle_2,3.75,\n"
    about = {**make_cycle_paper(tmp_path / "experiments", text), "gain_over": {"pl": "random"}}
    for seed in range(3):
        make_detection_run(tmp_path / "runs", "t", "random", seed=seed, report=about)
        make_detection_run(tmp_path / "runs", "t", "pl", seed=seed, report=about)
    _, lines = judged(tmp_path)  # ours gains 3.75 in each seed and cycle
    assert words(lines["pl less random"]) == ["trend only", "not reproduced", "reproduced"]


def test_the_csv_has_the_verdicts(tmp_path):
    make(tmp_path, {("Random", 0): ours("random", 0) + 1, ("PL", 0): 70.0})
    found, _ = judged(tmp_path)
    rows = {(row["row"], row["column"]): row for row in csv.DictReader(io.StringIO(paper_csv([found])))}
    one = rows["Random", "cycle_0"]
    assert (one["verdict"], one["row_verdict"]) == ("reproduced", "reproduced") and one["reason"].startswith("-1 ± 2.5")
    assert rows["Random", "cycle_1"]["verdict"] == ""
