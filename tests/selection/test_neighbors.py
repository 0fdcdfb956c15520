from types import SimpleNamespace

import pytest
import torch

from alpl.selection import neighbors
from alpl.selection.neighbors import squared_distance_to_nearest


@pytest.mark.parametrize("block", [1, 3, 7, 4096])
def test_distances_do_not_depend_on_the_blocks(block):
    random = torch.Generator().manual_seed(1)
    features, centers = (torch.randint(-9, 9, (n, 3), generator=random).float() for n in (10, 7))
    expected = [min(float((f - c).square().sum()) for c in centers) for f in features]
    assert squared_distance_to_nearest(features, centers, block=block).tolist() == expected


def test_no_center_is_infinitely_far():
    assert squared_distance_to_nearest(torch.zeros(3, 2), torch.zeros(0, 2)).tolist() == [float("inf")] * 3


def test_faiss_of_the_cpu_does_not_run_on_a_gpu(monkeypatch):
    of_cpu = SimpleNamespace(knn_gpu=None)  # faiss-cpu has it as well
    of_gpu = SimpleNamespace(knn_gpu=None, StandardGpuResources=object)
    for library, on_cpu, on_gpu in ((None, False, False), (of_cpu, True, False), (of_gpu, True, True)):
        monkeypatch.setattr(neighbors, "faiss", library)
        assert neighbors.faiss_runs_on(torch.device("cpu")) is on_cpu
        assert neighbors.faiss_runs_on(torch.device("cuda")) is on_gpu
