"""Tasks for tests, and answers to them."""

from pathlib import Path

import torch
from PIL import Image

from alpl.exchange import Answer, Item, Task, Tasks

CLASSES = ("car", "=SUM(A1)", "d'or & <b>", "'quoted")


def make_tasks(folder: Path, kind: str = "boxes", number: int = 4) -> Tasks:
    folder.mkdir(parents=True, exist_ok=True)
    tasks = []
    for rank in range(number):
        file = folder / f"pic {rank}&.png"
        Image.new("RGB", (40 + rank, 30)).save(file)
        predicted = (Item("car", (1.0, 2.0, 11.5, 12.0), 0.75), Item("'quoted", (3.0, 3.0, 9.0, 9.0), 0.5))
        predicted = predicted if kind == "boxes" else (Item("d'or & <b>", None, 0.5),)
        predicted = () if rank == 3 else predicted
        tasks.append(Task(100 - rank, file.name, str(file), 30, 40 + rank, rank, 0.5 / (rank + 1), predicted))
    return Tasks("1a2b3c4d", 2, kind, CLASSES, "Entropy", tuple(tasks))  # type: ignore[arg-type]


def float32(*values: float) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = torch.tensor(values, dtype=torch.float32).tolist()
    return x1, y1, x2, y2


def make_answers(tasks: Tasks) -> dict[int, Answer]:
    """To all but the last task; of boxes the second one has none."""
    found = {}
    for task in tasks.tasks[:-1]:
        if tasks.kind == "classes":
            items: tuple[Item, ...] = (Item(CLASSES[task.rank]),)
        elif task.rank == 1:
            items = ()
        else:
            box = float32(0.1, 1 / 3, 17.3 + task.rank, 29.9)
            items = (Item(CLASSES[task.rank + 1], box, difficult=True), Item("car", float32(5, 6, 7, 8)))
        found[task.index] = Answer(task.index, items, task.name, "=me", 1.5)
    return found
