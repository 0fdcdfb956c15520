"""Detection metrics over several processes, forked, whose shares of the images differ."""

import math
import queue

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from alpl.boxes.objects import NO_CLASS, Objects
from alpl.metrics.coco_ap import COCOAveragePrecision
from alpl.metrics.kitti_ap import KITTIAveragePrecision
from alpl.metrics.voc_ap import VOCAveragePrecision

WORLD, NUM_CLASSES = 3, 4


def _images(number):
    """Detections of few different scores, so that the order of the images matters; the first image has none."""
    draws = torch.Generator().manual_seed(number)
    images = [({"boxes": torch.zeros(0, 4), "labels": torch.zeros(0).long(), "scores": torch.zeros(0)}, Objects.none())]
    for _ in range(number - 1):
        corner = torch.rand(6, 2, generator=draws) * 50
        boxes, labels = torch.cat([corner, corner + 45], 1), torch.randint(NUM_CLASSES, (6,), generator=draws)
        scores = torch.randint(1, 3, (6,), generator=draws) / 2
        shifted = boxes + torch.randn(6, 4, generator=draws) * 2
        images.append(
            (
                {"boxes": shifted, "labels": labels.where(scores > 0.6, 0), "scores": scores},
                Objects(
                    boxes[:5],
                    torch.cat([labels[:4], torch.tensor([NO_CLASS])]),
                    torch.cat([torch.rand(4, generator=draws) < 0.3, torch.tensor([True])]),
                    torch.randint(3, (5,), generator=draws, dtype=torch.uint8),
                ),
            )
        )
    return images


def _results(images):
    results = []
    for metric in (
        VOCAveragePrecision(NUM_CLASSES, interpolation="area"),
        COCOAveragePrecision(NUM_CLASSES),
        KITTIAveragePrecision(NUM_CLASSES),
    ):
        for found, objects in images:
            metric.update([found], [objects])
        results.append(metric.compute()["per_class"].tolist())
    return results


def _process(rank, folder, numbers, answers):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=WORLD)
    for number in numbers:
        answers.put((rank, number, _results(_images(number)[rank::WORLD])))
    dist.destroy_process_group()


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_several_processes_give_what_one_does(tmp_path):
    numbers = [2, 3, 7, 8]  # of 2 images the last process has none
    context = mp.get_context("fork")
    answers = context.Queue()
    processes = [context.Process(target=_process, args=(r, tmp_path, numbers, answers)) for r in range(WORLD)]
    for process in processes:
        process.start()
    try:
        given = [answers.get(timeout=60) for _ in range(WORLD * len(numbers))]
    except queue.Empty:
        pytest.fail("the processes wait for each other")
    finally:
        for process in processes:
            process.join(timeout=5)
            process.kill()
    for rank, number, results in given:
        for ours, expected in zip(results, _results(_images(number)), strict=True):
            assert ours == pytest.approx(expected, abs=1e-12, nan_ok=True), (rank, number)
    assert any(0 < value < 1 for value in expected if not math.isnan(value))
