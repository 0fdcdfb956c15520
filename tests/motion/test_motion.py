"""Flow on textures that move as it is known; how it is kept and read."""

import numpy as np
import pytest
import torch

from alpl.boxes import Footage
from alpl.errors import ConfigError
from alpl.motion import BlockMatching, RaftFlow, StoredFlow
from alpl.motion.stored_flow import file_of


def texture(size=96, seed=0):
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, size // 4, size // 4, generator=draw)
    return torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic").clamp(0, 1) * 255


def shifted(frame, x, y):
    return frame.roll((y, x), dims=(2, 3))


@pytest.mark.parametrize(("x", "y"), [(0, 0), (3, 0), (-4, 2), (5, -6)])
def test_block_matching_finds_shifts(x, y):
    frame = texture()
    flow = BlockMatching(radius=6).flow(frame, shifted(frame, x, y))
    assert flow.shape == (1, 2, 12, 12)
    inner = flow[0, :, 2:-2, 2:-2].flatten(1)
    assert torch.equal(inner, torch.tensor([[float(x)], [float(y)]]).expand_as(inner))


def phase_correlation(first, second):
    """The shift of a whole frame, by the peak of the cross-power spectrum."""
    spectra = [np.fft.fft2(each[0].mean(0).numpy()) for each in (first, second)]
    cross = spectra[1] * spectra[0].conj()
    peak = np.unravel_index(np.fft.ifft2(cross / np.abs(cross).clip(1e-9)).real.argmax(), cross.shape)
    return [int((place + size // 2) % size - size // 2) for place, size in zip(peak, cross.shape, strict=True)][::-1]


@pytest.mark.parametrize("seed", range(3))
def test_block_matching_against_phase_correlation(seed):
    frame = texture(seed=seed)
    moved = shifted(frame, 2 * seed - 3, 4 - seed)
    flow = BlockMatching().flow(frame, moved)[0, :, 2:-2, 2:-2]
    assert flow.flatten(1).median(1).values.tolist() == phase_correlation(frame, moved)


def test_a_flat_frame_does_not_move():
    flat = torch.full((2, 3, 20, 27), 9.0)
    flow = BlockMatching().flow(flat, flat)
    assert flow.shape == (2, 2, 3, 4) and not flow.any()


def test_frames_whose_sides_are_no_multiples_of_a_cell():
    frame = texture()[:, :, :45, :51]
    flow = BlockMatching().flow(frame, frame)
    assert flow.shape == (1, 2, 6, 7) and not flow.any()


def test_raft_of_random_numbers_has_the_shape():
    torch.manual_seed(0)
    estimator = RaftFlow(weights=None, num_flow_updates=1)
    frame = texture()[:, :, :44, :60]
    flow = estimator.flow(frame, shifted(frame, 2, 0))
    assert flow.shape == (1, 2, 6, 8) and bool(flow.isfinite().all())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RaftFlow("raft_tiny"), "motion.name must be raft_small or raft_large, got 'raft_tiny'"),
        (lambda: RaftFlow(num_flow_updates=0), "motion.num_flow_updates must be >= 1"),
        (lambda: RaftFlow(height=0), "motion.height must be >= 1, got 0"),
        (lambda: BlockMatching(radius=0), "motion.radius must be >= 1"),
        (lambda: BlockMatching(block=9), "motion.block must be even and >= 8, got 9"),
        (lambda: RaftFlow(weights="C_T_V9").load(), "motion.weights must be known to torchvision for raft_small"),
    ],
)
def test_settings_out_of_range_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


# --- kept


def stored(folder, height=None, sizes=(16, 24), excluded=()):
    """Two videos; the first one's frames are data set indices 4, 2 and 0, the second one's 1 and 3."""
    footage = Footage(torch.tensor([0, 1, 0, 1, 0]), torch.tensor([2, 0, 1, 1, 0]), ("a", "b"))
    kept = torch.ones(5, dtype=torch.bool)
    kept[list(excluded)] = False
    for video, pairs in enumerate((2, 1)):
        pairs -= sum(int(footage.video[image]) == video for image in excluded)
        flow = np.zeros((pairs, 2, 2, 2, 3), dtype=np.float16)
        for pair in range(pairs):
            for direction in range(2):  # x grows by cells, y is told apart by video, pair and direction
                flow[pair, direction, 0] = np.arange(3)
                flow[pair, direction, 1] = 100 * video + 10 * pair + direction
        np.save(file_of(folder, video), flow)
    return StoredFlow(folder, footage, kept, torch.tensor(sizes).expand(5, 2), height)


def test_flow_is_read_at_the_pair_and_in_the_direction(tmp_path):
    flow = stored(tmp_path)
    points = torch.tensor([[4.0, 4.0]]).repeat(5, 1)
    forward = flow.moved(torch.arange(5), points, 1)
    assert forward[[4, 2, 1]].tolist() == [[4, 4], [4, 14], [4, 104]]  # image 4 is the first frame of the first video
    assert forward[[0, 3]].isnan().all()
    back = flow.moved(torch.arange(5), points, -1)
    assert back[[2, 0, 3]].tolist() == [[4, 5], [4, 15], [4, 105]] and back[[4, 1]].isnan().all()


def test_flow_between_the_centers_of_cells(tmp_path):
    flow = stored(tmp_path)
    xs = torch.tensor([-5.0, 4.0, 8.0, 12.0, 18.0, 23.9, 90.0])
    moved = flow.moved(torch.full((7,), 4), torch.stack([xs, torch.full((7,), 6.0)], 1), 1)
    assert (moved[:, 0] - xs).tolist() == pytest.approx([0, 0, 0.5, 1, 1.75, 2, 2], abs=1e-5)


def test_frames_that_were_scaled_are_read_in_their_own_pixels(tmp_path):
    flow = stored(tmp_path, height=16, sizes=(32, 48))
    moved = flow.moved(torch.tensor([4]), torch.tensor([[24.0, 8.0]]), 1)  # 12 of 24 pixels: the second cell
    assert moved.tolist() == [[25, 8]] and flow.sizes(torch.tensor([1])).tolist() == [[32, 48]]


def test_a_frame_that_takes_no_part_has_no_flow(tmp_path):
    flow = stored(tmp_path, excluded=[2])
    points = torch.tensor([[4.0, 4.0]])
    assert flow.moved(torch.tensor([2]), points, 1).isnan().all()
    assert flow.moved(torch.tensor([1]), points, 1).tolist() == [[4, 104]]
