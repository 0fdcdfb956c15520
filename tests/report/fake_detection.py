"""Makes run folders of detection: classes, pseudo-labels, galleries. By hand: ``python fake_detection.py FOLDER``."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
from fake_files import hash_of, write_progress
from PIL import Image

from alpl.machine.files import whole_file, write_json, write_text

CLASSES = ("car", "dog", "train")
GAIN = {"random": 0.0, "ssl": 0.03, "pl": 0.05, "elezi": 0.08}
PAPER = """row,column,mean,std
Random,cycle_0,60.82,0.2
Random,cycle_1,64.23,0.2
Random,cycle_2,66.33,
PL,cycle_1,69.6,0.5
PL,cycle_2,70.9,0.5
Ours,cycle_0,63.25,0.2
Ours,cycle_1,70.95,0.1
Ours,cycle_2,72.88,0.1
LLAL,cycle_0,60.95,0.4
LLAL,cycle_1,64.91,0.5
LLAL,cycle_2,66.90,0.3
"""


def class_values(row: str, cycle: int, seed: int, number: int = len(CLASSES)) -> list[float | None]:
    """A formula, so that tests can compute what the report must say; the last class has no object in the test."""
    values = [
        round(0.3 + 0.04 * k + GAIN.get(row, 0.0) * (k + 1) / 2 + 0.05 * cycle + 0.01 * seed, 6) for k in range(number)
    ]
    return [*values[:-1], None]


def mean_value(row: str, cycle: int, seed: int) -> float:
    known = [value for value in class_values(row, cycle, seed) if value is not None]
    return round(sum(known) / len(known), 6)


def make_detection_run(
    root: Path,
    table: str,
    row: str,
    data: str = "voc0712",
    seed: int = 0,
    *,
    num_cycles: int = 3,
    done: int | None = None,
    pseudo: float | None = None,
    report: dict[str, Any] | None = None,
    error: str | None = None,
    classes: tuple[str, ...] | None = CLASSES,
    gallery: bool = False,
    changes: dict[str, Any] | None = None,
    overridden: tuple[str, ...] = (),
    planned: dict[str, list[str]] | None = None,
) -> Path:
    done = num_cycles if done is None else done
    config: dict[str, Any] = {"data": {"seed": seed}, "acquisition": {"_target_": "random"}, "seed": seed}
    config |= {"pseudo_labels": None if pseudo is None else {"score_thresh": pseudo}} | (changes or {})
    key, variant = (hash_of({**config, "seed": s, "data": {"seed": s}}) for s in (seed, None))
    folder = root / table / row / f"{data}-seed{seed}-{key[:8]}"
    about = {"table": table, "row": row, "data": data, "seed": seed, "key": key, "variant": variant}
    about |= {"num_cycles": num_cycles, "report": report, "config": config}
    about |= {"changes": list(overridden), "planned": planned or {}}
    write_json(folder / "run.json", about | ({} if classes is None else {"classes": list(classes)}))
    columns = ["cycle", "num_labeled"]
    columns += [] if pseudo is None else ["num_labeled_objects", "num_pseudo_images", "num_pseudo_objects"]
    lines, journal = [",".join([*columns, "test/map", "test/map50"])], []
    for cycle in range(done):
        counts = [] if pseudo is None else [100 * (cycle + 1), 40 * min(cycle, 1), 90 * min(cycle, 1)]
        value = mean_value(row, cycle, seed)
        lines.append(",".join(map(str, [cycle, 20 + 10 * cycle, *counts, value, round(value + 0.1, 6)])))
        results = {"test/map": value, "test/map_per_class": class_values(row, cycle, seed)}
        write_json(folder / f"cycle_{cycle:02d}" / "metrics.json", results)
        if gallery and cycle < num_cycles - 1:
            make_gallery(folder / f"cycle_{cycle:02d}" / "gallery")
        journal += [{"cycle": cycle, "stage": stage, "seconds": 1.0} for stage in ("fit", "test")]
    write_progress(folder, lines, journal, finished=done == num_cycles, error=error)
    return folder


def make_gallery(folder: Path, *, number: int = 3, values_objects: bool = True) -> None:
    """Image 0 has three detections of which two count, image 1 one that does not, the others have none."""

    def found(label: int, score: float, value: float | None, decided: bool = False) -> dict[str, Any]:
        value = value if values_objects else None
        box = [10.0 + 30 * label, 12.0, 40.0 + 30 * label, 50.0]
        return {"box": box, "label": label, "score": score, "value": value, "decided": decided and values_objects}

    detections = [[found(0, 0.9, 0.25), found(2, 0.6, 0.75, True), found(1, 0.2, None)], [found(1, 0.4, None)]]
    entries = []
    for rank in range(number):
        stream = io.BytesIO()
        pixels = np.random.default_rng(rank).integers(0, 255, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((160, 120)).save(stream, "JPEG")
        with whole_file(folder / f"{rank:03d}.jpg", "wb") as file:
            file.write(stream.getvalue())
        entry = {"file": f"{rank:03d}.jpg", "index": 7 * rank, "name": f"<scene {rank}>", "rank": rank}
        entry |= {"utility": 0.75 / (rank + 1), "width": 160, "height": 120}
        entries.append(entry | {"detections": detections[rank] if rank < 2 else []})
    about = {"num_queried": 10, "values_objects": values_objects, "classes": list(CLASSES)}
    write_json(folder / "gallery.json", about | {"images": entries})


def make_cycle_paper(experiments: Path, text: str = PAPER) -> dict[str, Any]:
    """Write a paper's table whose columns are cycles and give the ``report`` of its runs."""
    write_text(experiments / "elezi" / "table1.paper.csv", text)
    rows = {"random": "Random", "pl": "PL", "elezi": "Ours", "elezi_as_released": "Ours", "llal": "LLAL"}
    return {"paper": "elezi/table1.paper.csv", "rows": rows, "columns": "cycles", "data": "voc0712", "scale": 100}


def make_detection_sweep(root: Path, table: str = "elezi/table1", report: dict[str, Any] | None = None) -> Path:
    for seed in range(3):
        make_detection_run(root, table, "random", seed=seed, report=report, gallery=True)
        make_detection_run(root, table, "ssl", seed=seed, report=report)
        make_detection_run(root, table, "pl", seed=seed, pseudo=0.99, report=report)
    make_detection_run(root, table, "elezi", seed=0, pseudo=0.99, report=report, gallery=True)
    make_detection_run(root, table, "elezi", seed=1, pseudo=0.99, done=1, report=report)
    make_detection_run(root, table, "elezi", "digit_scenes", num_cycles=2, pseudo=0.99, report=report)
    return root


if __name__ == "__main__":
    target = Path(sys.argv[1])
    make_detection_sweep(target / "runs", report=make_cycle_paper(target / "experiments"))
