"""Runs in which a person answers: the same pools and numbers as the simulated ones, whatever happens in between."""

import json
from pathlib import Path

import pytest
from command import Result, alpl
from forked import Forked
from person import answer_file, cycles_with_a_person, take

from alpl.commands.status import state_of
from alpl.machine.files import read_json, write_json

TINY = ("acquisition=margin", "trainer.max_epochs=2", "schedule.cycles=2", "schedule.budget=6")
SCENES = (
    "data=digit_scenes", "model=ssd_tiny", "acquisition=detection_entropy", "trainer.max_epochs=-1",
    "trainer.max_steps=2", "model.scheduler_interval=step", "model.scheduler.T_max=2", "schedule.cycles=2",
    "schedule.initial.size=8", "schedule.budget=4", "+data.source.num_train=24", "+data.source.num_test=8",
)  # fmt: skip


def states(run: Path) -> str:
    return " ".join(filter(None, state_of(run)))


def pools_and_numbers(run: Path) -> list[str]:
    cycles = sorted(run.glob("cycle_*"))
    texts = [(cycle / name).read_text() for cycle in cycles for name in ("pool.csv", "epochs.csv")]
    return [*texts, *[(cycle / "query.csv").read_text() for cycle in cycles[:-1]], (run / "metrics.csv").read_text()]


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides, formats", [(TINY, ("label_studio", "cvat")), (SCENES, ("coco", "yolo"))], ids=["classes", "boxes"]
)
def test_right_answers_give_the_simulated_run(tmp_path: Path, overrides: tuple[str, ...], formats: tuple) -> None:
    simulated = alpl(tmp_path / "simulated", *overrides)
    assert simulated.status == 0, simulated.err
    person = [*overrides, "oracle=person"]
    results = list(cycles_with_a_person(tmp_path / "asked", person, formats, tmp_path / "given"))
    assert [result.status for result in results] == [3, 3, 0], results[-1].err
    run = results[-1].run_folder()
    assert pools_and_numbers(run) == pools_and_numbers(simulated.run_folder())
    journal = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    labor = [entry for entry in journal if entry["stage"] == "annotate"]
    per_image = "yolo" not in formats
    assert [entry["made"] + entry["accepted"] > 0 for entry in labor] == [True, True]
    assert [entry["person_seconds"] for entry in labor] == [12.0 if per_image else 8.0, 12.0 if per_image else None]
    assert states(run) == "done" and not (run / "cycle_00" / "informativeness").exists()


def asked(tmp_path: Path) -> Result:
    result = alpl(tmp_path / "runs", *TINY, "schedule.cycles=1", "oracle=person")
    assert result.status == 3 and "waits for 6 answers: tasks in " in result.err, result.err
    assert not (result.run_folder() / "error.txt").exists()
    return result


def again(tmp_path: Path) -> Result:
    return alpl(tmp_path / "runs", *TINY, "schedule.cycles=1", "oracle=person")


def test_part_of_the_answers_and_the_same_file_twice(tmp_path: Path) -> None:
    run = asked(tmp_path).run_folder()
    assert states(run) == "waiting for 6 of 6 answers, cycle 0"
    some = answer_file(run, tmp_path / "some", number=4)
    assert take(run, some) == (0, "4 new answers; 2 of 6 images are left to answer\n")
    before = (run / "answers.json").read_bytes(), (run / "answers.json").stat().st_mtime_ns
    assert take(run, some) == (0, "0 new answers; 2 of 6 images are left to answer\n")
    assert before == ((run / "answers.json").read_bytes(), (run / "answers.json").stat().st_mtime_ns)
    assert states(run) == "waiting for 2 of 6 answers, cycle 0"
    assert "waits for 2 answers" in again(tmp_path).err
    all_of_them = answer_file(run, tmp_path / "all")
    assert take(run, all_of_them)[1].startswith("2 new answers; all 6 images are answered: the same alpl command")
    assert states(run).startswith("unfinished")
    assert again(tmp_path).status == 0 and states(run) == "done"
    assert take(run, all_of_them) == (0, "0 new answers; the run asks about nothing\n")
    journal = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    stages = {entry["stage"]: entry for entry in journal if entry.get("cycle") == 0}
    assert "cycle_00/tasks.json" in stages["ask"]["files"] and "cycle_00/answers.json" in stages["annotate"]["files"]


@pytest.mark.slow
def test_a_changed_answer_replaces_and_a_wrong_one_takes_nothing(tmp_path: Path) -> None:
    run = asked(tmp_path).run_folder()
    file = answer_file(run, tmp_path / "right")
    assert take(run, file)[0] == 0
    tasks = read_json(run / "cycle_00" / "tasks.json")["tasks"]
    first = tasks[0]["index"]
    right = {row[0]: row[1] for row in read_json(run / "answers.json")["answers"]}[first][0][0]
    wrong = "3" if right != "3" else "4"
    (tmp_path / "other.csv").write_text(f"index,label\n{first},{wrong}\n")
    assert take(run, tmp_path / "other.csv")[1].startswith("0 new answers, 1 replaced; all 6")
    before = (run / "answers.json").read_bytes()
    (tmp_path / "wrong.csv").write_text(f"index,label\n{first},{right}\n99999,3\n")
    status, said = take(run, tmp_path / "wrong.csv")
    assert status == 2 and "nothing was taken" in said and "no image 99999" in said
    assert (run / "answers.json").read_bytes() == before


@pytest.mark.slow
def test_answers_outlive_a_stage_that_is_undone(tmp_path: Path) -> None:
    run = asked(tmp_path).run_folder()
    assert take(run, answer_file(run, tmp_path / "right"))[0] == 0
    before = (run / "cycle_00" / "query.csv").read_text()
    (run / "cycle_00" / "query.csv").unlink()
    result = again(tmp_path)
    assert result.status == 0 and "done again" in result.err, result.err
    assert (run / "cycle_00" / "query.csv").read_text() == before


@pytest.mark.slow
def test_changed_tasks_and_answers_are_named(tmp_path: Path) -> None:
    run = asked(tmp_path).run_folder()
    assert take(run, answer_file(run, tmp_path / "right"))[0] == 0
    content = read_json(run / "answers.json")
    content["answers"][0][1][0][0] = "0" if content["answers"][0][1][0][0] != "0" else "1"
    write_json(run / "answers.json", content)
    result = again(tmp_path)
    assert result.status == 2 and "answers.json" in result.err and "sha256" in result.err
    assert take(run)[0] == 2
    (run / "answers.json").unlink()
    tasks = read_json(run / "cycle_00" / "tasks.json")
    write_json(run / "cycle_00" / "tasks.json", tasks | {"cycle": 1})
    result = again(tmp_path)
    assert result.status == 2 and "tasks.json is not what stage ask wrote" in result.err


@pytest.mark.slow
def test_what_cannot_be_asked_is_refused_before_training(tmp_path: Path) -> None:
    result = alpl(tmp_path, *TINY, "oracle=person", "acquisition=oracle")
    assert result.status == 2 and "oracle=person" in result.err and not list(tmp_path.rglob("model.pt"))
    assert take(tmp_path / "nothing")[0] == 2
    simulated = alpl(tmp_path / "simulated", *TINY, "schedule.cycles=1").run_folder()
    status, said = take(simulated)
    assert status == 2 and "oracle=person" in said


@pytest.mark.slow
def test_in_a_sweep_the_others_go_on_and_it_ends_with_3(tmp_path: Path) -> None:
    sweep = ("-m", *TINY[1:], "schedule.cycles=1", "acquisition=random", "oracle=person,benchmark")
    result = alpl(tmp_path, *sweep)
    assert result.status == 3 and "alpl: run 1 waits for 6 answers" in result.err, result.err
    assert len(list(tmp_path.rglob("cycle_01/metrics.json"))) == 1


DYING = """
import os, signal, sys
from pathlib import Path
from alpl.commands import main
from alpl.cycle.asking import Asking

number, renamed, ask, replace = int(sys.argv.pop(1)), [], Asking.ask, Path.replace

def counted(path, target):
    renamed.append(target)
    if len(renamed) == number:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(path, target)

def asked(asking, *arguments):
    Path.replace = counted
    ask(asking, *arguments)
    Path.replace = replace

Asking.ask = asked
main.cli()
"""


@pytest.mark.slow
def test_killed_before_any_file_of_asking_and_answering(tmp_path: Path) -> None:
    """Each attempt dies one file later than the one before, while it asks and while it takes the answers."""
    overrides = ["acquisition=random", TINY[1], "schedule.budget=1", "schedule.cycles=1"]
    simulated = alpl(tmp_path / "simulated", *overrides)
    ends, run = [], tmp_path
    for number in range(1, 40):
        place = f"paths.runs={tmp_path / 'runs'}"
        process = Forked("-c", DYING, str(number), *overrides, "oracle=person", place)
        ends.append(process.wait(120))
        if ends[-1] == 3:
            run = Result(3, "", "", tmp_path / "runs").run_folder()
            assert take(run, answer_file(run, tmp_path / f"given{number}"))[0] == 0
        elif ends[-1] == 0:
            break
    assert ends[-1] == 0 and ends.count(3) == 1 and ends.count(-9) >= 8 and set(ends) == {0, 3, -9}, ends
    assert pools_and_numbers(run) == pools_and_numbers(simulated.run_folder())
