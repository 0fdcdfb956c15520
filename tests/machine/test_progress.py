"""What a log that is no terminal shows of a run."""

import time

from alpl.machine.progress import Progress


def _wait_for(text, capsys, seconds=5.0):
    err, end = "", time.monotonic() + seconds
    while text not in err and time.monotonic() < end:
        time.sleep(0.01)
        err += capsys.readouterr().err
    return err


def test_a_stage_that_says_nothing_gives_signs_of_life(capsys):
    progress = Progress("random digits seed 0", None, 6, heartbeat_s=0.05)
    progress.stage(0, "select")
    assert "random digits seed 0 | cycle 1/6 | select (0 s so far)\n" in _wait_for("so far", capsys)
    progress.within("batch 2/9")
    assert "select batch 2/9 (" in _wait_for("batch 2/9", capsys)
    progress.close()


def test_there_are_no_signs_of_life_between_two_stages_nor_after_the_end_nor_of_other_processes(capsys):
    progress, other = (Progress("run", None, 6, quiet=quiet, heartbeat_s=0.02) for quiet in (False, True))
    for each in (progress, other):
        each.stage(0, "fit")
    progress.done(0.0, "done", shown=False)
    capsys.readouterr()
    time.sleep(0.1)
    assert capsys.readouterr().err == ""
    progress.stage(0, "test")
    progress.close()
    capsys.readouterr()
    time.sleep(0.1)
    assert capsys.readouterr().err == ""


def test_signs_of_life_are_as_rare_as_they_are_asked_to_be(capsys):
    progress = Progress("run", None, 6, heartbeat_s=60)
    progress.stage(0, "predict")
    for batch in range(100):
        progress.within(f"batch {batch}/100")
    time.sleep(0.05)
    progress.close()
    assert capsys.readouterr().err == ""
