from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alpl.acquisition import Dispersion
from alpl.acquisition.dispersion import label_dispersion
from alpl.machine.files import read_array, write_array
from alpl.predictions import Need


def _by_counting(history):
    """Thesis Eq. 3.1 and 3.2, image by image: one minus the share of the label predicted most often."""
    return [1 - Counter(column).most_common(1)[0][1] / len(column) for column in zip(*history, strict=True)]


@st.composite
def histories(draw):
    num_epochs, num_images = draw(st.integers(1, 12)), draw(st.integers(1, 20))
    num_classes = draw(st.sampled_from([1, 2, 3, 10, 256]))
    dtype = draw(st.sampled_from([np.uint8, np.uint16, np.int64]))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return random.integers(0, num_classes, (num_epochs, num_images)).astype(dtype)


def test_by_hand():
    # five epochs: always car (0); car but once; three of five; all different; two modal classes
    history = np.array([[0, 0, 1, 0, 3], [0, 0, 1, 1, 3], [0, 2, 2, 2, 4], [0, 0, 1, 3, 4], [0, 0, 3, 4, 5]])
    assert label_dispersion(history).tolist() == pytest.approx([0.0, 0.2, 0.4, 0.8, 0.6])


@given(histories(), st.integers(1, 25))
def test_it_is_the_count_of_each_image(history, chunk):
    dispersion = label_dispersion(history, chunk)
    assert dispersion.tolist() == pytest.approx(_by_counting(history.tolist()), abs=1e-12)
    assert dispersion.dtype == torch.float64
    assert (dispersion >= 0).all() and (dispersion <= 1 - 1 / len(history) + 1e-12).all()


@given(histories(), st.randoms(use_true_random=False))
def test_neither_the_order_of_epochs_nor_the_names_of_classes_count(history, random):
    expected = label_dispersion(history)
    epochs, names = list(range(len(history))), list(range(256))
    random.shuffle(epochs)
    random.shuffle(names)
    assert torch.equal(label_dispersion(np.array(names)[history[epochs]]), expected)


def test_equal_dispersions_are_equal_numbers():
    # so that ties are ties, whatever the classes
    history = np.array([[0, 5, 9], [0, 5, 9], [0, 5, 1], [2, 1, 0], [3, 2, 9]])
    assert label_dispersion(history).unique().numel() == 1


def test_a_memory_mapped_history_gives_the_same(tmp_path):
    history = np.random.default_rng(0).integers(0, 10, (7, 50)).astype(np.uint8)
    write_array(tmp_path / "history.npy", history)
    mapped = read_array(tmp_path / "history.npy", memory_map=True)
    assert isinstance(mapped, np.memmap)
    assert torch.equal(label_dispersion(mapped, chunk=8), label_dispersion(history))


@pytest.mark.parametrize(
    ("history", "message"),
    [
        (np.zeros((2, 3)), r"history must be Int\[E U\], got float64 of shape \[2, 3\]"),
        (np.zeros(3, dtype=np.int64), r"history must be Int\[E U\], got int64 of shape \[3\]"),
        (np.zeros((2, 3), dtype=bool), r"history must be Int\[E U\], got bool"),
        (np.zeros((0, 3), dtype=np.int64), "history must hold at least one epoch, got 0"),
        (np.array([[0, 1], [2, -1]]), "history must hold labels >= 0, got -1"),
    ],
)
def test_what_is_no_history_is_an_error(history, message):
    with pytest.raises(ValueError, match=message):
        label_dispersion(history)


def test_no_image_has_no_dispersion():
    assert label_dispersion(np.zeros((4, 0), dtype=np.uint8)).shape == (0,)


# --- the acquisition

TIED = np.array([[0, 0, 0, 0, 0, 0, 0, 0], [0, 1, 1, 1, 1, 1, 1, 1], [0, 2, 1, 1, 1, 1, 1, 1]])  # 0; 2/3; six of 1/3


def test_the_most_dispersed_image_comes_first(context_of):
    assert Dispersion().needs is Need.HISTORY
    query = Dispersion().select(context_of(number=8, budget=8, history=TIED))
    assert query.index[0] == 3 and query.index[-1] == 1
    assert query.utility.tolist() == pytest.approx([2 / 3, *[1 / 3] * 6, 0.0])


def test_ties_at_the_border_of_the_budget_are_drawn_by_the_seed(context_of):
    def picks(seed):
        return Dispersion().select(context_of(number=8, budget=3, seed=seed, history=TIED)).index.tolist()

    assert all(picks(seed) == picks(seed) for seed in range(5))
    counts = torch.zeros(8)
    for seed in range(900):
        first, *tied = picks(seed)
        assert first == 3
        counts[[(index - 1) // 2 for index in tied]] += 1
    assert counts[[0, 1]].tolist() == [0, 0]
    assert (counts[2:] - 300).abs().max() < 5 * (900 * (1 / 3) * (2 / 3)) ** 0.5


def test_a_history_of_another_pool_is_an_error(context_of):
    with pytest.raises(ValueError, match=r"Dispersion\.utility must be Float\[7\], got shape \[8\]"):
        Dispersion().select(context_of(number=7, history=TIED))


def test_without_a_history_it_says_what_it_needs(context_of):
    with pytest.raises(AssertionError, match=r"Need\.HISTORY was declared"):
        Dispersion().select(context_of(number=8))
