"""Old names and missing keys: a run that has not changed keeps its key, and reads as today's would be written."""

from alpl.config.versions import ADDED, MOVED, canonical, upgraded
from alpl.runs.run_folder import content_key

OLD = {
    "schedule": {
        "_target_": "alpl.schedule.Schedule",
        "initial": {"_target_": "alpl.schedule.RandomInitial", "size": 3},
    },
    "oracle": {"_target_": "alpl.oracle.BenchmarkOracle"},
    "acquisition": {"_target_": "mine.Alpl", "parts": [{"_target_": "alpl.networks.priors.PriorLayout"}]},
}


def test_todays_content_has_the_key_of_the_old_one() -> None:
    today = upgraded(OLD)
    assert today["schedule"]["initial"] == {"_target_": "alpl.labeling.schedule.RandomInitial", "size": 3}
    assert today["acquisition"]["parts"] == [{"_target_": "alpl.boxes.priors.PriorLayout"}]
    assert all(name in today for name in ADDED if "." not in name)
    assert canonical(today) == OLD == canonical(OLD)
    assert content_key(today) == content_key(OLD)
    assert upgraded(today) == today


def test_a_key_that_was_added_counts_where_it_says_something_new() -> None:
    today = upgraded(OLD)
    other = today | {"learner": {"_target_": "alpl.learning.TeacherStudent"}}
    assert content_key(other) != content_key(OLD)


def test_every_new_name_can_be_imported() -> None:
    from hydra.utils import get_class

    for new in MOVED.values():
        assert get_class(new).__name__ == new.rpartition(".")[2]
