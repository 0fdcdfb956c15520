"""Two data sets of one name are two tables, each with its own classes; what tells them apart is said."""

import pytest
from fake_runs import make_run

from alpl.machine.files import read_json, write_json
from alpl.report import write_report
from alpl.report.read.aggregate import group
from alpl.report.read.data_sets import about_data, notes_on_data, told_apart
from alpl.runs.fingerprint import FILE, Fingerprint, Part
from alpl.runs.results import find_runs

ONE, OTHER = (
    Fingerprint({"training images": Part(9, x), "test images": Part(4, x), "classes": Part(2, x)}) for x in "ab"
)


@pytest.fixture
def runs(tmp_path):
    """Two seeds on one data set and, under another key, one seed on another; and a run that has noted nothing."""
    for seed, lr, data in ((0, 0.1, ONE), (1, 0.1, ONE), (0, 0.2, OTHER), (2, 0.1, None)):
        folder = make_run(tmp_path, "mine", "random", "voc_folder", seed=seed, lr=lr, num_cycles=2)
        if data is not None:
            write_json(folder / FILE, data.as_json())
            about = read_json(folder / "run.json")
            write_json(folder / "run.json", about | {"classes": ["cat", "dog"] if data is ONE else ["car", "bus"]})
    return find_runs([tmp_path])


def test_data_sets_of_one_name_are_told_apart(runs):
    names = [f"voc_folder {one.identity}" for one in (ONE, OTHER)]
    assert {(run.seed, run.data) for run in told_apart(runs)} == {
        (0, names[0]), (1, names[0]), (0, names[1]), (2, "voc_folder"),
    }  # fmt: skip
    assert sorted((one.data, len(one.runs)) for one in group(told_apart(runs))) == sorted(
        [(names[0], 2), (names[1], 1), ("voc_folder", 1)]
    )
    (note,) = notes_on_data(runs)
    assert note.startswith("voc_folder: the runs are of different data") and "data.name=NAME" in note
    assert all(one.identity in note for one in (ONE, OTHER))


def test_runs_on_one_data_set_keep_its_name(runs):
    alike = [run for run in runs if run.fingerprint != OTHER]
    assert told_apart(alike) == alike and notes_on_data(alike) == []
    about = f"voc_folder ({ONE.identity}: 9 training images, 4 test images, 2 classes)"
    assert about_data(alike, ["voc_folder", "digits"]) == [about, "digits"]


@pytest.mark.slow
def test_the_page_has_a_table_for_each(runs, tmp_path):
    page = write_report("mine", runs, tmp_path / "report").read_text()
    for one in (ONE, OTHER):
        assert f">voc_folder {one.identity}</h2>" in page
        assert f"voc_folder {one.identity} ({one.identity}: 9 training images" in page
    assert "told apart by their fingerprints" in page
