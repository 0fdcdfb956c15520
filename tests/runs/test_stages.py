"""A stage is done once, and only what was done to its end is noted."""

import os
from pathlib import Path
from unittest import mock

import pytest

from alpl.runs import stages
from alpl.runs.run_folder import RunFolder
from alpl.runs.stages import Stages


@pytest.fixture
def made(tmp_path: Path) -> Stages:
    return Stages(RunFolder(tmp_path), mock.Mock(), mock.Mock())


def test_a_stage_is_done_once(made: Stages) -> None:
    for expected in (True, False):
        with made.run(0, "fit", together=True) as todo:
            assert todo is expected
            made.detail = "all went well"
    (entry,) = made.folder.journal
    assert (entry["cycle"], entry["stage"]) == (0, "fit") and entry["seconds"] >= 0
    made.progress.stage.assert_called_once_with(0, "fit")
    assert made.progress.done.call_args.args[1] == "all went well" and not made.progress.done.call_args.kwargs["shown"]
    made.interruption.leave.assert_called_once()


def test_what_one_stage_says_is_not_said_of_the_next(made: Stages) -> None:
    with made.run(0, "test", together=True):
        made.detail = "10 labeled"
    with made.run(0, "predict", together=True):
        pass
    assert [call.args[1] for call in made.progress.done.call_args_list] == ["10 labeled", "done"]
    assert [call.kwargs["shown"] for call in made.progress.done.call_args_list] == [True, False]


def test_a_stage_that_fails_is_not_done(made: Stages) -> None:
    with pytest.raises(RuntimeError), made.run(1, "select", together=False):
        raise RuntimeError("out of luck")
    assert not made.folder.is_done(1, "select") and not made.interruption.leave.called


@pytest.mark.parametrize("together", [True, False])
def test_the_other_processes_wait_for_the_first(made: Stages, together: bool) -> None:
    """The first one notes the stage while the second waits."""
    waited = []

    def first_does_it(seconds: float) -> None:
        waited.append(seconds)
        made.folder.mark_done({"cycle": 0, "stage": "fit", "seconds": 1.0})

    with mock.patch.object(stages, "rank", return_value=1), mock.patch("time.sleep", first_does_it):
        with made.run(0, "fit", together=together) as todo:
            assert todo is together
        assert len(waited) == 1 and len(made.folder.journal) == 1
        with made.run(0, "fit", together=together) as todo:
            assert todo is False
    assert not made.progress.stage.called


def test_they_do_not_wait_for_a_dead_one(made: Stages) -> None:
    parents = iter([os.getppid(), os.getppid(), 1])
    with (
        mock.patch.object(stages, "rank", return_value=1),
        mock.patch("time.sleep"),
        mock.patch("os.getppid", lambda: next(parents)),
        pytest.raises(RuntimeError, match="process 0 ended before cycle 2, stage test"),
        made.run(2, "test", together=True),
    ):
        pass
