from fake_runs import make_run

from alpl.report.read.aggregate import group
from alpl.report.read.partial import gaps, seeds_text
from alpl.report.read.tables import wide_tables
from alpl.runs.results import find_runs

PLAN = {"method": ["random", "entropy", "margin"], "seed": ["0", "1", "2"]}


def test_missing_rows_and_seeds_are_named(tmp_path):
    for seed in range(3):
        make_run(tmp_path, "t", "random", seed=seed, planned=PLAN)
    make_run(tmp_path, "t", "entropy", seed=0, planned=PLAN)
    make_run(tmp_path, "t", "entropy", seed=2, done=2, planned=PLAN)
    variants = group(find_runs([tmp_path]))
    assert [seeds_text(variant) for variant in variants] == ["1 of 3", "3"]
    assert gaps(variants) == [
        "digits: entropy has 1 of 3 seeds, missing: 1 (not begun), 2 (unfinished, 2 of 5 cycles).",
        "digits: not begun: margin.",
    ]
    (table,) = wide_tables(variants)
    assert table.text(0, 0).endswith("(n=2)") and "n=" not in table.text(1, 0)


def test_data_that_was_not_begun_is_named(tmp_path):
    make_run(tmp_path, "t", "random", planned={"method": ["random"], "data": ["digits", "letters"]})
    assert gaps(group(find_runs([tmp_path]))) == ["Not begun at all: letters."]


def test_acquisitions_may_be_the_rows(tmp_path):
    make_run(tmp_path, "t", "random", planned={"acquisition": ["random", "bald"], "seed": ["0"]})
    assert gaps(group(find_runs([tmp_path]))) == ["digits: not begun: bald."]


def test_a_whole_sweep_lacks_nothing_and_may_have_more(tmp_path):
    for seed in range(4):
        make_run(tmp_path, "t", "random", seed=seed, planned={"method": ["random"], "seed": ["0", "1"]})
    variants = group(find_runs([tmp_path]))
    assert gaps(variants) == [] and seeds_text(variants[0]) == "4"


def test_runs_of_no_experiment_plan_nothing(tmp_path):
    make_run(tmp_path, "t", "random", seed=0)
    make_run(tmp_path, "t", "random", seed=1, done=1)
    variants = group(find_runs([tmp_path]))
    assert gaps(variants) == [] and seeds_text(variants[0]) == "1 of 2"
