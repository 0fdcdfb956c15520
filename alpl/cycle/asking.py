"""Asks a person about a query, and waits for the answers: the run ends, and the same command goes on with them.

What is asked stands in the cycle's ``tasks.json``; ``tasks/`` of the run's folder holds it in the formats of tools, to
be edited freely. Answers gather in the run's own ``answers.json`` (``alpl-answers``, ``alpl-annotate``), which no stage
that is undone takes along; those to the query are kept with the cycle when all are there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from dataclasses import replace
from pathlib import Path
from typing import final

import torch
from PIL import Image

from alpl.acquisition.base import Query
from alpl.cycle.parts import Parts
from alpl.data.base import Picture
from alpl.data.image_files import read_size
from alpl.data.task import Task as Kind
from alpl.errors import AnswersAwaited, ConfigError
from alpl.exchange import Answer, Item, Task, Tasks, export, read_answers, write_answers
from alpl.exchange.answers import clipped
from alpl.labeling.oracle import AbstractOracle, PersonOracle
from alpl.labeling.schedule import Candidates
from alpl.machine.files import replace_with
from alpl.pool import Index
from alpl.predictions import Need, Predictions
from alpl.runs.labor import Labor
from alpl.runs.run_folder import RunFolder

_MOST_SHOWN = 100  # objects of an image; a person would not look at more
_SUFFIXES = re.compile(r"\.(jpe?g|png|bmp|webp|tiff?)", re.IGNORECASE)


def check_known(oracle: AbstractOracle, candidates: Candidates, initial: Index, needs: Need, *, asks: bool) -> None:
    """Make sure that whoever answers can: of own images only some have labels.

    Args:
        oracle: answers.
        candidates: the images that take part.
        initial: ``Long[L]`` the initial set.
        needs: of the acquisition.
        asks: whether the run makes queries.

    Raises:
        ConfigError: the initial set has images without labels, the data set is to answer for such, or the acquisition
            needs to know before it asks.
    """
    if needs & Need.TARGETS and not oracle.knows_all:
        raise ConfigError(
            "acquisition must not need the true labels of the pool where a person answers (oracle=person)"
        )
    if candidates.annotated is None:
        return
    if len(wrong := initial[~torch.isin(initial, candidates.annotated)]):
        raise ConfigError(
            f"schedule.initial must choose images that have labels, got {wrong[:5].tolist()}, which have none; "
            "schedule=own takes all that have"
        )
    if asks and oracle.knows_all and len(candidates.annotated) < len(candidates.index):
        number = len(candidates.index) - len(candidates.annotated)
        raise ConfigError(f"oracle must be person: {number} images of the data have no label, got benchmark")


@final
class Asking:
    """Asks a person.

    Args:
        parts: of the run.
    """

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.folder = parts.folder

    def ask(self, cycle: int, query: Query, seen: Path) -> None:
        """Have a query answered.

        Args:
            cycle: whose model chose.
            query: the images.
            seen: where predictions of them may lie.

        Raises:
            AnswersAwaited: answers are missing.
        """
        oracle, stages, files = self.parts.oracle, self.parts.stages, self.folder.cycle(cycle)
        if oracle.knows_all:
            return
        with stages.run(cycle, "ask", together=False) as todo:
            if todo:
                self._write_tasks(cycle, query, seen)
                stages.detail = f"{len(query.index)} images, in {tasks_folder(self.folder, cycle)}"
        if not self.folder.is_done(cycle, "annotate"):
            self._check(cycle, query)
        with stages.run(cycle, "annotate", together=False) as todo:
            if todo:
                given = read_answers(self.folder.answers)
                kept = {index: given[index] for index in query.index.tolist()}
                write_answers(files.answers, kept)
                stages.note = _labor(Tasks.load(files.tasks), kept).as_note()
                stages.detail = f"{len(query.index)} answers"
        oracle.take(read_answers(files.answers), self.parts.experiment.data.classes)

    def _check(self, cycle: int, query: Query) -> None:
        given = read_answers(self.folder.answers)
        if missing := [index for index in query.index.tolist() if index not in given]:
            raise AnswersAwaited(len(missing), waits_where(self.folder, cycle))

    def _write_tasks(self, cycle: int, query: Query, seen: Path) -> None:
        oracle, data = self.parts.oracle, self.parts.experiment.data
        assert isinstance(oracle, PersonOracle), "others know all"
        shown = _Shown(seen, query.index, data.classes, oracle.least_score)
        index = query.index.tolist()
        pictures = [data.picture(each) for each in index]
        answered = read_answers(self.folder.answers)
        taken = {Path(answer.name).stem for each, answer in answered.items() if each not in set(index)}
        names = _names(index, pictures, taken)
        sizes = data.image_sizes(query.index).tolist()
        tasks = []
        for rank, (each, utility) in enumerate(zip(index, query.utility.tolist(), strict=True)):
            picture = pictures[rank]
            file = picture.file or self._keep(cycle, names[rank], picture)
            height, width = _size_of(file) or sizes[rank]  # a person sees the file, not what the network is given
            task = Task(each, names[rank], file, height, width, rank, utility, ())
            found = [_visible(item, task) for item in shown.of(each, has_boxes=data.task is Kind.DETECTION)]
            tasks.append(replace(task, predicted=tuple(item for item in found if item is not None)))
        kind = "boxes" if data.task is Kind.DETECTION else "classes"
        acquisition = type(self.parts.experiment.acquisition).__name__
        key = self.folder.path.name.rpartition("-")[2]
        asked = Tasks(key, cycle, kind, tuple(data.classes), acquisition, tuple(tasks))  # type: ignore[arg-type]
        asked.save(self.folder.cycle(cycle).tasks)
        place = tasks_folder(self.folder, cycle)
        if place.exists():  # of a stage that was undone: someone may have written into it
            before = place.with_name(f"{place.name}.before")
            self.folder.remove(before)
            place.rename(before)
        export(asked, place, read_answers(self.folder.answers))

    def _keep(self, cycle: int, name: str, picture: Picture) -> str:
        """Write an image that has no file of its own."""
        path = self.folder.cycle(cycle).folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = picture.pixels()
        array = pixels[0].numpy() if len(pixels) == 1 else pixels.permute(1, 2, 0).contiguous().numpy()
        replace_with(path, lambda temporary: Image.fromarray(array).save(temporary, "PNG"))
        return str(path.absolute())


def _labor(asked: Tasks, answers: Mapping[int, Answer]) -> Labor:
    """Count what a person made, what was accepted of the model's, and the seconds."""
    said = [(item.label, item.box) for answer in answers.values() for item in answer.items]
    accepted = 0
    for task in asked.tasks:
        # the model's boxes as answers keep them: within the image, in float32
        found = {(item.label, item.box and clipped(item.box, task)) for item in task.predicted}
        accepted += sum((item.label, item.box) in found for item in answers[task.index].items)
    seconds = [answer.seconds for answer in answers.values() if answer.seconds is not None]
    return Labor(len(said) - accepted, accepted, round(sum(seconds), 3) if len(seconds) == len(answers) else None)


def tasks_folder(folder: RunFolder, cycle: int) -> Path:
    """Where the tasks of a cycle lie in the formats of tools."""
    return folder.path / "tasks" / f"cycle_{cycle:02d}"


def waits_where(folder: RunFolder, cycle: int) -> str:
    """Say what to do about a run that waits."""
    return (
        f"tasks in {tasks_folder(folder, cycle)}; alpl-answers {folder.path} FILE... takes the answers, "
        f"alpl-annotate {folder.path} asks in a browser"
    )


def _size_of(file: str) -> tuple[int, int] | None:
    """Height and width of an image file as it is shown; None where it cannot be read."""
    size = read_size(file, decode=False)
    return None if isinstance(size, str) else size


def _visible(item: Item, task: Task) -> Item | None:
    """Clip what a model found to the image, as an answer must lie in it; None where nothing is left."""
    if item.box is None:
        return item
    box = clipped(item.box, task)
    return replace(item, box=box) if box[0] < box[2] and box[1] < box[3] else None


def _names(index: list[int], pictures: list[Picture], taken: Set[str]) -> list[str]:
    """Give each image a name that is fit for files of any tool, and different from the others' without its suffix.

    Args:
        index: dataset indices.
        pictures: of these.
        taken: names, without suffix, of images that were asked about in earlier cycles: their files may come again.
    """
    bare = [Path(picture.name).name for picture in pictures]
    stems = [Path(name).stem for name in bare]
    names = []
    for each, name, stem in zip(index, bare, stems, strict=True):
        is_fit = name.isprintable() and name.strip() == name and len(name.encode(errors="replace")) <= 200
        is_fit = (
            is_fit
            and _SUFFIXES.fullmatch(Path(name).suffix) is not None
            and stems.count(stem) == 1
            and stem not in taken
        )
        names.append(name if is_fit else f"image_{each:09d}{_suffix(name)}")
    return names


def _suffix(name: str) -> str:
    suffix = Path(name).suffix
    return suffix.lower() if _SUFFIXES.fullmatch(suffix) else ".png"


class _Shown:
    """What the cycle's model says of queried images, where it was asked about them."""

    def __init__(self, seen: Path, index: Index, classes: tuple[str, ...], least_score: float) -> None:
        found = Predictions.load(seen, memory_map=True) if seen.exists() else None
        self._of: dict[int, list[Item]] = {each: [] for each in index.tolist()}
        if found is None or found.labels is None:
            return
        position = {each: place for place, each in enumerate(found.index.tolist())}
        for each, items in self._of.items():
            if each not in position:
                continue
            place = torch.tensor(position[each]).to(found.row)
            start, stop = (int(torch.searchsorted(found.row, place, right=right)) for right in (False, True))
            for instance in range(start, stop):
                items.append(_item(found, instance, classes))
            items.sort(key=lambda item: -(item.score or 0.0))
            if found.boxes is not None:
                items[:] = [item for item in items if (item.score or 0.0) >= least_score][:_MOST_SHOWN]

    def of(self, index: int, *, has_boxes: bool) -> tuple[Item, ...]:
        """Give it, the surest first; of detectors nothing that has no box."""
        return tuple(item for item in self._of[index] if (item.box is not None) == has_boxes)


def _item(found: Predictions, instance: int, classes: tuple[str, ...]) -> Item:
    assert found.labels is not None
    label = int(found.labels[instance])
    if found.scores is not None:
        score: float | None = float(found.scores[instance])
    else:
        score = float(found.posterior.probs[instance, label]) if found.posterior is not None else None
    box = None if found.boxes is None else tuple(float(edge) for edge in found.boxes[instance])
    return Item(classes[label], box, score)  # type: ignore[arg-type]
