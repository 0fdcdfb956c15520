import pytest
import torch

from alpl.selection.neighbors import squared_distance_to_nearest


@pytest.mark.parametrize("block", [1, 3, 7, 4096])
def test_distances_do_not_depend_on_the_blocks(block):
    random = torch.Generator().manual_seed(1)
    features, centers = (torch.randint(-9, 9, (n, 3), generator=random).float() for n in (10, 7))
    expected = [min(float((f - c).square().sum()) for c in centers) for f in features]
    assert squared_distance_to_nearest(features, centers, block=block).tolist() == expected


def test_no_center_is_infinitely_far():
    assert squared_distance_to_nearest(torch.zeros(3, 2), torch.zeros(0, 2)).tolist() == [float("inf")] * 3
