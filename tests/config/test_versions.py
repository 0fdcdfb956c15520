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


def test_a_key_is_added_where_a_class_takes_it() -> None:
    classes = {"data": {"_target_": "alpl.data.datamodule.ImageDataModule"}}
    scenes = {"data": {"_target_": "alpl.data.scenes.SceneDataModule"}}
    assert upgraded(OLD | classes)["data"]["pool_transform"] == "evaluation"
    assert upgraded(OLD | scenes)["data"] == scenes["data"] | {"name": None}
    assert content_key(upgraded(OLD | classes)) == content_key(OLD | classes)
    other = OLD | {"data": classes["data"] | {"pool_transform": "training"}}
    assert content_key(other) != content_key(OLD | classes)


def test_what_no_longer_counts_has_counted_as_the_configs_had_it() -> None:
    source = {"_target_": "alpl.data.voc.VOC", "year": "2007"}
    scenes = {"_target_": "alpl.data.scenes.SceneDataModule", "source": source}
    usual = scenes | {"num_workers": 4, "source": source | {"cache_bytes": 0}}
    assert content_key(OLD | {"data": scenes}) == content_key(OLD | {"data": usual})
    digits = scenes | {"source": {"_target_": "alpl.data.digit_scenes.DigitScenes"}}
    assert canonical({"data": digits})["data"] == digits | {"num_workers": 0}
    assert content_key(OLD | {"data": scenes}) != content_key(OLD | {"data": usual | {"num_workers": 8}})
    read = upgraded({"data": usual | {"num_workers": 8}})["data"]
    assert "num_workers" not in read and read["source"] == source | {"repeats": "warn"}


def test_every_new_name_can_be_imported() -> None:
    from hydra.utils import get_class

    for new in MOVED.values():
        assert get_class(new).__name__ == new.rpartition(".")[2]
