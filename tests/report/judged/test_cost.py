import csv
import io
import json

import pytest
from fake_runs import make_run

from alpl.machine.files import write_text
from alpl.report.judged.cost import cost_csv, cost_tables
from alpl.report.read.aggregate import group
from alpl.report.read.tables import wide_tables
from alpl.runs.results import find_runs

# cycle: labeled images, objects, metric, seconds of fit and of test
RUNS = {
    0: [(10, 30, 0.50, 4.0, 1.0), (20, 75, 0.60, 6.0, 1.0), (30, 90, 0.70, 8.0, 1.0)],
    1: [(10, 50, 0.40, 2.0, 1.0), (20, 85, 0.70, 2.0, 1.0)],
}


@pytest.fixture
def tables(tmp_path):
    for seed, cycles in RUNS.items():
        folder = make_run(tmp_path, "t", "entropy", seed=seed, num_cycles=3, done=len(cycles))
        lines = ["cycle,num_labeled,num_labeled_objects,test/accuracy"]
        lines += [f"{cycle},{images},{objects},{value}" for cycle, (images, objects, value, *_) in enumerate(cycles)]
        write_text(folder / "metrics.csv", "\n".join(lines) + "\n")
        journal = []
        for cycle, (*_, fit, test) in enumerate(cycles):
            journal.append(f'{{"cycle": {cycle}, "stage": "fit", "seconds": {fit}}}\n')
            journal.append(f'{{"cycle": {cycle}, "stage": "test", "seconds": {test}}}\n')
        journal.append('{"cycle": 2, "stage": "fit", "seconds": 100.0}\n' if seed == 1 else "")  # cut off in cycle 2
        write_text(folder / "journal.jsonl", "".join(journal))
    return cost_tables(wide_tables(group(find_runs([tmp_path]))))


def test_the_cost_of_each_cycle_by_hand(tables):
    (table,) = tables
    first, second, third = table.lines["entropy"]
    assert table.metric == "test/accuracy" and table.has_objects
    assert (first.images, first.images_bought, first.all_images_bought) == (10, 10, 0)
    assert (first.objects, first.objects_bought, first.all_objects_bought) == (40, 40, 0)
    assert (first.seconds, first.all_seconds, first.gain, first.num_seeds) == (4, 4, 0, 2)
    assert (second.objects, second.objects_bought, second.all_objects_bought) == (80, 40, 40)
    assert (second.seconds, second.all_seconds) == (5, 9)
    assert second.gain == pytest.approx((10 + 30) / 2)
    assert second.a_point(second.all_images_bought) == pytest.approx(10 / 20)
    # the third cycle of seed 0 alone: what seed 1 had before is not mixed in, nor its unfinished fit
    assert (third.images, third.images_bought, third.all_images_bought, third.num_seeds) == (30, 10, 20, 1)
    assert (third.objects, third.objects_bought, third.all_objects_bought) == (90, 15, 60)
    assert (third.seconds, third.all_seconds, third.gain) == (9, 21, pytest.approx(20))
    assert third.a_point(third.all_seconds) == pytest.approx(21 / 20)


def test_a_point_costs_nothing_that_could_be_told_where_nothing_was_gained(tables):
    first = tables[0].lines["entropy"][0]
    assert first.a_point(first.all_seconds) is None and first.a_point(None) is None


def test_the_file_holds_every_cycle(tables):
    lines = list(csv.DictReader(io.StringIO(cost_csv(tables))))
    assert [line["cycle"] for line in lines] == ["0", "1", "2"]
    assert lines[1] == {
        "data": "digits", "row": "entropy", "cycle": "1", "num_labeled": "20", "images_bought": "10",
        "all_images_bought": "10", "num_labeled_objects": "80", "objects_bought": "40", "all_objects_bought": "40",
        "seconds": "5", "all_seconds": "9", "gain": "20", "images_a_point": "0.5", "objects_a_point": "2",
        "seconds_a_point": "0.45", "seeds": "2",
    }  # fmt: skip
    assert lines[0]["images_a_point"] == "" and lines[0]["gain"] == "0"


def test_classification_has_no_objects_and_an_unstarted_row_no_line(tmp_path):
    make_run(tmp_path, "t", "random")
    make_run(tmp_path, "t", "entropy", done=0)
    (table,) = cost_tables(wide_tables(group(find_runs([tmp_path]))))
    assert not table.has_objects and list(table.lines) == ["random"]
    last = table.lines["random"][-1]
    assert (last.images, last.all_images_bought, last.objects) == (120, 80, None)
    assert last.all_seconds == pytest.approx(5 * (0.5 + 1 + 1.5 + 2))
    make_run(tmp_path / "none", "t", "entropy", done=0)
    assert cost_tables(wide_tables(group(find_runs([tmp_path / "none"])))) == []


def _noted(cycle, stage, rate, waiting, **more):
    return json.dumps(
        {"cycle": cycle, "stage": stage, "seconds": 1.0, "images_per_second": rate, "waiting": waiting} | more
    )


def test_how_fast_images_went_through_is_the_mean_over_fits_and_seeds(tmp_path):
    for seed, rate in ((0, 100.0), (1, 300.0)):
        folder = make_run(tmp_path, "t", "entropy", seed=seed, num_cycles=2)
        lines = (folder / "journal.jsonl").read_text().splitlines()
        kept = [line for line in lines if json.loads(line)["stage"] not in ("fit", "predict")]
        noted = [
            _noted(0, "fit", rate, 0.25), _noted(0, "fit_1", rate + 100, 0.75, gpu_bytes=2**30),
            _noted(0, "predict", 1000.0, 0.5, gpu_bytes=2**31),
        ]  # fmt: skip
        write_text(folder / "journal.jsonl", "\n".join([*noted, *kept]) + "\n")
    tables = cost_tables(wide_tables(group(find_runs([tmp_path]))))
    first, second = tables[0].lines["entropy"]
    assert tables[0].has_speed
    assert (first.fit_speed, first.waiting) == ((100 + 200 + 300 + 400) / 4, 0.5)
    assert (first.predict_speed, first.gpu_bytes) == (1000.0, 2**31)
    assert (second.fit_speed, second.predict_speed, second.waiting, second.gpu_bytes) == (None, None, None, None)
    lines = list(csv.DictReader(io.StringIO(cost_csv(tables))))
    speed = ("fit_images_per_second", "predict_images_per_second", "waiting", "gpu_bytes")
    assert [lines[0][name] for name in speed] == ["250", "1000", "0.5", "2147483648"]
    assert [lines[1][name] for name in speed] == [""] * 4


def test_what_a_person_did_by_hand(tmp_path):
    """Per query 6 classes or boxes in all; of the second one an answer does not say how long it took."""
    folder = make_run(tmp_path, "t", "entropy", num_cycles=3, done=3)
    lines = ["cycle,num_labeled,test/accuracy", "0,10,0.5", "1,16,0.6", "2,22,0.7"]
    write_text(folder / "metrics.csv", "\n".join(lines) + "\n")
    asked = [{"cycle": 0, "made": 4, "accepted": 2, "person_seconds": 30.0}]
    asked += [{"cycle": 1, "made": 1, "accepted": 5, "person_seconds": None}]
    entries = [{"cycle": cycle, "stage": "test", "seconds": 1.0} for cycle in range(3)]
    entries += [{"stage": "annotate", "seconds": 0.1} | each for each in asked]
    write_text(folder / "journal.jsonl", "".join(json.dumps(entry) + "\n" for entry in entries))
    tables = cost_tables(wide_tables(group(find_runs([tmp_path]))))
    first, second, third = tables[0].lines["entropy"]
    assert tables[0].has_labor and (first.made, first.accepted, first.person_seconds) == (None, None, None)
    assert (second.made, second.accepted, second.person_seconds) == (4, 2, 30)
    assert (third.made, third.accepted, third.person_seconds) == (5, 7, None)
    rows = list(csv.DictReader(io.StringIO(cost_csv(tables))))
    assert [row["made_a_point"] for row in rows] == ["", "0.4", "0.25"]  # 10 and 20 points of accuracy were gained
    assert [row["person_seconds_a_point"] for row in rows] == ["", "3", ""]
