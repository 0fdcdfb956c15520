"""What a run knows its data by: the same for the same, and what differs by its name."""

from unittest import mock

import pytest

from alpl.errors import ConfigError, DataError
from alpl.machine.files import write_json
from alpl.preflight import checks
from alpl.runs.fingerprint import FILE, Fingerprint, Part, check_same_data, read_fingerprint
from alpl.runs.run_folder import RunFolder

PARTS = {
    "classes": Part(2, "a"),
    "training images": Part(5, "b"),
    "training files": Part(5, "c"),
    "time stamps of training files": Part(5, "d"),
    "training annotations": Part(9, "e"),
    "test images": Part(3, "f"),
}


def changed(**parts: Part) -> Fingerprint:
    return Fingerprint(PARTS | {name.replace("_", " "): part for name, part in parts.items()})


EARLIER = Fingerprint(PARTS)


@pytest.mark.parametrize(
    ("now", "named"),
    [
        (EARLIER, []),
        (changed(classes=Part(2, "x")), ["classes differ"]),
        (changed(training_annotations=Part(10, "x"), test_images=Part(3, "x")),
         ["training annotations differ (9 then, 10 now)", "test images differ"]),
        (Fingerprint({name: part for name, part in PARTS.items() if name != "test images"}),
         ["test images differ (3 then, 0 now)"]),
    ],
)  # fmt: skip
def test_what_differs_is_named(now, named):
    assert now.differences(EARLIER) == named
    assert (now.sha256 == EARLIER.sha256) == (named == [])
    assert (now.identity == EARLIER.identity) == (named == [])


def test_copies_are_one_data_set_and_differ_by_their_time_stamps_alone():
    copy = changed(time_stamps_of_training_files=Part(5, "x"))
    assert copy.identity == EARLIER.identity and copy.sha256 != EARLIER.sha256
    (line,) = copy.differences(EARLIER)
    assert line.startswith("time stamps of training files differ (data.fingerprint=content")


def test_contents_count_in_place_of_time_stamps_where_both_know_them():
    contents = {"contents_of_training_files": Part(5, "y")}
    known, other = changed(**contents), {"contents_of_training_files": Part(5, "z")}
    copy = {"time_stamps_of_training_files": Part(5, "x")}
    assert changed(**contents, **copy).differences(known) == []
    assert changed(**other, **copy).differences(known) == ["contents of training files differ"]
    assert known.differences(EARLIER) == [] == EARLIER.differences(known)
    assert len(changed(**contents, **copy).differences(EARLIER)) == 1, "the time stamps, which both know"


def test_a_run_is_held_to_what_it_noted(tmp_path):
    assert read_fingerprint(tmp_path) is None and not check_same_data(tmp_path, EARLIER)
    write_json(tmp_path / FILE, EARLIER.as_json())
    assert read_fingerprint(tmp_path) == EARLIER and check_same_data(tmp_path, EARLIER)
    with pytest.raises(ConfigError) as caught:
        check_same_data(tmp_path, changed(classes=Part(3, "x")))
    assert str(caught.value) == (
        f"{tmp_path} is of other data than there are now: classes differ (2 then, 3 now); restore them, or give the "
        "data of now a name of their own (data.name=NAME)"
    )
    assert EARLIER.summary == "5 training images, 3 test images, 2 classes"


def test_what_an_earlier_version_noted_tells_nothing_and_a_broken_file_is_named(tmp_path):
    write_json(tmp_path / FILE, {"fingerprint": "0f"})
    assert read_fingerprint(tmp_path) is None
    write_json(tmp_path / FILE, {"parts": {"classes": 3}})
    with pytest.raises(DataError, match=r"data.json must hold the number and sha256 of each part"):
        read_fingerprint(tmp_path)


def test_of_a_broken_file_the_message_says_what_deleting_it_does(tmp_path):
    (tmp_path / FILE).write_text("{")
    with pytest.raises(DataError, match=r"put it back from a copy, or delete it: .* takes those of now") as caught:
        read_fingerprint(tmp_path)
    assert "writes it again" not in str(caught.value)


def test_a_run_that_goes_on_without_its_note_takes_the_data_of_now_and_says_so(tmp_path):
    for is_begun in (False, True):
        if is_begun:
            RunFolder(tmp_path).mark_done({"cycle": 0, "stage": "fit", "seconds": 1.0})
            (tmp_path / FILE).unlink()
        with mock.patch.object(checks.log, "warning") as warning:
            checks.check_data(EARLIER, tmp_path, may_write=True)
        assert [call.args[1] for call in warning.call_args_list] == ([tmp_path / FILE] if is_begun else [])
        assert read_fingerprint(tmp_path) == EARLIER
