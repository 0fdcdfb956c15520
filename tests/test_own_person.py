"""The README's commands for own images that a person labels, on a small folder of digits; and detection on own ones."""

import re
import shlex
from pathlib import Path

import own_data
import pytest
from command import Result, alpl
from own_data import BOX
from person import take

from alpl.commands import data, status
from alpl.commands.answers import asked_by
from alpl.exchange import Answer, Item, export
from alpl.machine.files import read_json
from alpl.runs.run_folder import RunFolder

README = Path(__file__).parent.parent / "README.md"
SMALL = ("trainer.max_epochs=1", "data.source.size=16", "data.augment=[]", "schedule.budget=4", "schedule.cycles=1")
QUICK = (*SMALL, "num_threads=1", "trainer.accelerator=cpu")


def readme_commands() -> list[list[str]]:
    section = README.read_text().split("### Your own images, a person labels")[1]
    block = re.findall(r"```bash\n(.*?)```", section, re.DOTALL)[0]
    return [shlex.split(line, comments=True) for line in block.splitlines()]


def right_answers(run: Path, folder: Path, name: str, *, empty: bool = False) -> Path:
    """Fill in what is asked, as the digits' own labels say, or that there is no object."""
    labels = {own_data.name_of(k): label for k, (_, label) in enumerate(own_data.pictures(60))}
    tasks = asked_by(RunFolder(run))
    box = BOX if tasks.kind == "boxes" else None
    items = {task.index: () if empty else (Item(labels[task.name], box),) for task in tasks.tasks}
    given = {task.index: Answer(task.index, items[task.index], task.name) for task in tasks.tasks}
    export(tasks, folder, given, (name,))
    return folder


def test_the_commands_of_the_readme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    own_data.make_classes(tmp_path / "mine")
    check, first, told, annotate, answers, again = readme_commands()
    assert check[:2] == ["alpl-data", "check"] and annotate == ["alpl-annotate", "RUN"] and first == again
    with pytest.raises(SystemExit) as end:
        data.cli(check[1:])
    said = capsys.readouterr().out
    assert end.value.code == 0 and "images    9 labeled, 3 of the test set, 24 unlabeled\n" in said
    suggested = said.partition("run       ")[2].split()
    assert {"data=own_classes", "data.source.root=mine", "oracle=person", "schedule.budget=20"} <= set(suggested)
    runs = tmp_path / "runs"
    result = alpl(runs, *first[1:], *QUICK)
    assert result.status == 3 and "waits for 4 answers" in result.err, result.err
    run = result.run_folder()
    with pytest.raises(SystemExit):
        status.cli([f"paths.runs={runs}"])
    assert "waiting " in capsys.readouterr().out and told == ["alpl-status"]
    assert answers == ["alpl-answers", "RUN", "RUN/tasks/cycle_00/tasks.csv"]
    right_answers(run, run / "tasks" / "cycle_00", "csv")
    assert take(run, run / "tasks" / "cycle_00" / "tasks.csv")[0] == 0
    result = alpl(runs, *again[1:], *QUICK)
    assert result.status == 0, result.err
    assert read_json(run / "cycle_01" / "metrics.json")["num_labeled"] == 13


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["yolo", "voc", "coco"])
def test_own_boxes(tmp_path: Path, layout: str) -> None:
    root = getattr(own_data, f"make_{layout}")(tmp_path / "mine")
    small = (
        "model=ssd_tiny", "trainer=digit_scenes", "trainer.max_epochs=-1", "trainer.max_steps=2", "data.num_workers=0",
        "model.scheduler_interval=step", "model.scheduler.T_max=2", "schedule.budget=4", "schedule.cycles=1",
    )  # fmt: skip
    command = (f"data=own_{layout}", f"data.source.root={root}", "acquisition=detection_entropy", *small)

    def run() -> Result:
        return alpl(tmp_path / "runs", *command, "oracle=person")

    result = run()
    assert result.status == 3, result.err
    folder = result.run_folder()
    without = right_answers(folder, tmp_path / "empty", layout, empty=True) / _place(layout)
    assert take(folder, without, "--empty", "asked") == (0, "0 new answers; 4 of 4 images are left to answer\n")
    assert "4 new answers, 4 of them say that there is no object; all 4" in take(folder, without)[1]
    assert take(folder, right_answers(folder, tmp_path / "given", layout) / _place(layout))[0] == 0
    result = run()
    assert result.status == 0, result.err
    numbers = read_json(folder / "cycle_01" / "metrics.json")
    before = read_json(folder / "cycle_00" / "metrics.json")
    assert numbers["num_labeled"] == before["num_labeled"] + 4
    assert numbers["num_labeled_objects"] == before["num_labeled_objects"] + 4


def _place(layout: str) -> str:
    return "coco.json" if layout == "coco" else layout


@pytest.mark.slow
def test_who_has_no_labels_needs_a_person(tmp_path: Path) -> None:
    root = own_data.make_table(tmp_path / "mine")
    command = ("data=own_table", f"data.source.root={root}", "model=small_cifar", *QUICK)
    result = alpl(tmp_path / "runs", *command)
    assert result.status == 2 and "oracle must be person: 24 images of the data have no label" in result.err
    drawn = "schedule.initial._target_=alpl.labeling.schedule.RandomInitial"
    sizes = "+schedule.initial.size=20", "+schedule.initial.seed=0"
    result = alpl(tmp_path / "runs", *command, "oracle=person", drawn, *sizes)
    assert result.status == 2 and "schedule=own takes all that have" in result.err
    result = alpl(tmp_path / "runs", *command, "schedule.budget=null", "schedule.cycles=null")
    assert result.status == 0, result.err  # it asks nobody


def test_a_folder_that_cannot_be_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        data.cli(["check", str(tmp_path)])
    assert end.value.code == 2 and "must hold a data.yaml (YOLO)" in capsys.readouterr().err
    root = own_data.make_yolo(tmp_path / "mine")
    (root / "labels" / "train" / "d003.txt").write_text("9 0.5 0.5 0.1 0.1\n")
    with pytest.raises(SystemExit) as end:
        data.cli(["check", str(root)])
    said = capsys.readouterr().out
    assert end.value.code == 1 and "unknown class" in said and "data.source.bad=skip_boxes" in said
