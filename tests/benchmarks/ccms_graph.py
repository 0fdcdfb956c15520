"""CCMS by a graph of the most similar images: what it finds of the matrix, its time and its memory.

    python tests/benchmarks/ccms_graph.py [--images 9464] [--each 100] [--width 256] [--classes 80] [--scenes 200]
                                          [--neighbors 64] [--matches 32] [--recall 0.95 1] [--alone] [--threads 2]

Made-up scenes: a type of scene draws an image's classes (a few are frequent) and moves the features of each class; so
some images are alike, and detections differ in class, scene and by noise. The features are a file that is read
memory-mapped, as those of a run are. One row for each ``--recall``, 1 compares all objects; ``--alone`` leaves the
matrix out. "edges": share of each image's true most similar images (as many as ``--neighbors``) that are held; then how
many of the picks are shared, of k-center alone and of the medoids, by chance b / N; and the mean similarity of all
images to the nearest medoid, by the matrix: of the graph's medoids, the matrix's, random images. "peak": memory of the
process, without mapped files, above what it was before.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from alpl.machine.files import GrowingArray
from alpl.selection import neighbors
from alpl.selection.ccms import ccms
from alpl.selection.ccms_graph import ccms_graph
from alpl.selection.graph_medoids import kcenter_of_graph, refine_medoids_of_graph
from alpl.selection.medoids import kcenter_of_similarities, refine_medoids
from alpl.selection.objects import Objects
from alpl.selection.similarity_graph import SimilarityGraph

_PART = 1000  # images that are made up at a time
T = TypeVar("T")


def made_up(folder: Path, images: int, each: int, width: int, classes: int, scenes: int) -> Objects:
    """Detections of scenes, the features in a memory-mapped file."""
    draw = torch.Generator().manual_seed(0)
    frequency = torch.arange(1.0, classes + 1).rsqrt()
    weights = frequency * torch.rand(scenes, classes, generator=draw) ** 3
    centers = torch.randn(classes, width, generator=draw)
    moves = torch.randn(scenes, width, generator=draw)
    scene = torch.randint(scenes, (images,), generator=draw)
    labels = torch.cat([torch.multinomial(weights[part], each, True, generator=draw) for part in scene.split(_PART)])
    path = folder / "features.npy"
    empty = np.zeros((0, width), dtype=np.float32)
    with GrowingArray(path, empty) as file:
        _fill(file, labels, scene, centers, moves, draw)
    values = torch.from_numpy(np.load(path, mmap_mode="c"))
    scores = torch.rand(images * each, generator=draw)
    return Objects(values, labels.flatten(), scores, torch.arange(images).repeat_interleave(each), images)


def _fill(
    file: GrowingArray, labels: Tensor, scene: Tensor, centers: Tensor, moves: Tensor, draw: torch.Generator
) -> None:
    for own, kinds in zip(labels.split(_PART), scene.split(_PART), strict=True):
        noise = torch.randn(*own.shape, centers.shape[1], generator=draw)
        image = torch.randn(len(own), 1, centers.shape[1], generator=draw)
        values = (centers[own] + 0.7 * moves[kinds][:, None] + 0.5 * image + 0.7 * noise).relu()
        file.append(values.flatten(0, 1).numpy())


def own_memory() -> float:
    """MiB of the process, without mapped files (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))


@contextmanager
def watching() -> Iterator[list[float]]:
    """Give a list that holds the peak above the memory of now, once the block ended."""
    before, peak, over = own_memory(), [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            peak[0] = max(peak[0], own_memory() - before)

    thread = threading.Thread(target=watch)
    thread.start()
    yield peak
    over.set()
    thread.join()


def timed(task: str, make: Callable[[], T]) -> T:
    """Print seconds, those of the processors, and peak of a task."""
    with watching() as peak:
        began, used = time.perf_counter(), time.process_time()
        made = make()
        seconds, used = time.perf_counter() - began, time.process_time() - used
    print(f"{task:24} {seconds:8.1f} s, of processors {used:8.1f} s, peak {peak[0]:6.0f} MiB", flush=True)
    return made


def held(graph: SimilarityGraph, similarity: Tensor, number: int) -> float:
    """Share of the true most similar images that the graph holds."""
    found = 0
    for image in range(len(graph)):
        row = similarity[image].clone()
        row[image] = -1
        found += int(torch.isin(row.topk(number).indices, graph.row(image)[0]).sum())
    return found / (number * len(graph))


def shared(ours: Tensor, others: Tensor) -> str:
    """Share of common picks, in words."""
    return f"{100 * float(torch.isin(ours, others).float().mean()):.0f} %"


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = {"images": 9464, "each": 100, "width": 256, "classes": 80, "scenes": 200, "neighbors": 64, "matches": 32}
    for name, size in {**sizes, "threads": 2}.items():
        parser.add_argument(f"--{name}", type=int, default=size)
    parser.add_argument("--recall", type=float, nargs="+", default=[0.95, 1.0])
    parser.add_argument("--alone", action="store_true", help="without the matrix")
    parser.add_argument("--folder", type=Path, help="where the features are made up; a temporary one by default")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    neighbors.faiss.omp_set_num_threads(chosen.threads)
    logging.basicConfig(level=logging.INFO, format="  %(message)s")
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        given = (chosen.images, chosen.each, chosen.width, chosen.classes, chosen.scenes)
        objects = timed("made up", lambda: made_up(Path(folder), *given))
        compare(objects, chosen)


def compare(objects: Objects, chosen: argparse.Namespace) -> None:
    """Measure the graph for each recall, and the matrix."""
    budget = max(objects.num_images // 4, 1)
    square = None if chosen.alone else timed("matrix", lambda: ccms(objects))
    if square is not None:
        centers = timed("k-center of the matrix", lambda: kcenter_of_similarities(square, budget, 0))
        medoids = timed("medoids of the matrix", lambda: refine_medoids(square, centers))
    for recall in chosen.recall:
        graph = timed(
            f"graph, recall {recall:g}",
            lambda recall=recall: ccms_graph(
                objects, neighbors=chosen.neighbors, matches=chosen.matches, recall=recall
            ),
        )
        size = sum(part.nbytes for part in (graph.starts, graph.others, graph.values, graph.floor)) / 2**20
        print(f"  {len(graph.values) / len(graph):.0f} pairs an image, {size:.0f} MiB")
        ours = timed("k-center of the graph", lambda graph=graph: kcenter_of_graph(graph, budget, 0))
        moved = timed("medoids of the graph", lambda graph=graph, ours=ours: refine_medoids_of_graph(graph, ours))
        if square is None:
            continue
        spread = torch.randperm(len(square), generator=torch.Generator().manual_seed(1))[:budget]
        near = [f"{float(square[:, picks].amax(1).mean()):.4f}" for picks in (moved, medoids, spread)]
        print(
            f"  edges {100 * held(graph, square, chosen.neighbors):.1f} %, k-center {shared(ours, centers)}, "
            f"medoids {shared(moved, medoids)}, similarity {' '.join(near)}"
        )


if __name__ == "__main__":
    main()
