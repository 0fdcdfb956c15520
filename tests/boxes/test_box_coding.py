import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alpl.boxes.box_coding import decode, encode, recode, to_absolute, to_unit
from alpl.boxes.priors import VOC_300


def _random_boxes(number, seed=0):
    draws = torch.rand(number, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.cat([draws[:, :2], 0.01 + 0.9 * draws[:, 2:]], 1)


def _encode_reference(box, prior, variances):
    (gx, gy, gw, gh), (dx, dy, dw, dh) = box, prior
    return [
        (gx - dx) / (variances[0] * dw),
        (gy - dy) / (variances[0] * dh),
        math.log(gw / dw) / variances[1],
        math.log(gh / dh) / variances[1],
    ]


@pytest.mark.parametrize("variances", [(0.1, 0.2), (1.0, 1.0), (0.3, 0.7)])
def test_encode_is_the_equation(variances):
    boxes, priors = _random_boxes(50), _random_boxes(50, seed=1)
    expected = [_encode_reference(b, d, variances) for b, d in zip(boxes.tolist(), priors.tolist(), strict=True)]
    torch.testing.assert_close(encode(boxes, priors, variances), torch.tensor(expected, dtype=torch.float64))


def test_by_hand():
    prior = torch.tensor([[0.5, 0.5, 0.2, 0.4]])
    box = torch.tensor([[0.6, 0.4, 0.2 * math.e, 0.4 / math.e]])
    # a center off by half a width, and by a quarter of the height to the top; e times as wide, 1/e as high
    torch.testing.assert_close(encode(box, prior), torch.tensor([[5.0, -2.5, 5.0, -5.0]]))
    torch.testing.assert_close(decode(torch.tensor([[5.0, -2.5, 5.0, -5.0]]), prior), box)
    assert torch.equal(encode(prior, prior), torch.zeros(1, 4)) and torch.equal(decode(torch.zeros(1, 4), prior), prior)


@given(st.integers(0, 1000), st.tuples(st.floats(0.05, 2), st.floats(0.05, 2)))
def test_recode_is_to_decode_and_encode_again(seed, variances):
    deltas, priors, others = (_random_boxes(20, seed=seed + number) for number in range(3))
    expected = encode(decode(deltas, priors, variances), others, variances)
    torch.testing.assert_close(recode(deltas, priors, others, variances), expected)
    assert torch.equal(recode(deltas, priors, priors, variances), deltas)


def test_recode_of_large_deltas_is_finite():
    deltas, priors = torch.tensor([[0.0, 0.0, 1e4, -1e4]]), torch.tensor([[0.5, 0.5, 0.2, 0.2]])
    assert recode(deltas, priors, priors / 2).isfinite().all() and not decode(deltas, priors).isfinite().all()


@given(st.integers(0, 1000), st.tuples(st.floats(0.05, 2), st.floats(0.05, 2)))
def test_decode_is_the_inverse(seed, variances):
    boxes, priors = _random_boxes(20, seed), _random_boxes(20, seed + 1)
    torch.testing.assert_close(decode(encode(boxes, priors, variances), priors, variances), boxes)
    deltas = torch.randn(20, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    torch.testing.assert_close(encode(decode(deltas, priors, variances), priors, variances), deltas)


def test_a_batch_is_coded_image_by_image():
    priors = VOC_300.priors()
    boxes = _random_boxes(2 * len(priors)).float().view(2, -1, 4)
    coded = encode(boxes, priors)
    assert torch.equal(coded[1], encode(boxes[1], priors))
    torch.testing.assert_close(decode(coded, priors), boxes, atol=1e-5, rtol=1e-4)


def test_decoded_boxes_are_not_clipped():
    assert decode(torch.tensor([[-20.0, 0.0, 10.0, 0.0]]), torch.tensor([[0.1, 0.5, 0.2, 0.2]])).tolist()[0] == (
        pytest.approx([-0.3, 0.5, 0.2 * math.e**2, 0.2])
    )


def test_a_box_without_width_is_infinitely_far():
    assert encode(torch.tensor([[0.5, 0.5, 0.0, 0.1]]), torch.tensor([[0.5, 0.5, 0.1, 0.1]]))[0, 2] == -math.inf


def test_units_by_hand():
    sizes = torch.tensor([100, 200])  # height, width
    box = torch.tensor([[10.0, 20.0, 30.0, 40.0]])
    torch.testing.assert_close(to_unit(box, sizes), torch.tensor([[0.1, 0.3, 0.1, 0.2]]))
    torch.testing.assert_close(to_absolute(torch.tensor([[0.1, 0.3, 0.1, 0.2]]), sizes), box)


def test_units_and_pixels_are_inverse_for_a_batch_of_sizes():
    boxes = _random_boxes(12).view(3, 4, 4)
    sizes = torch.tensor([[100, 200], [33, 7], [480, 640]]).view(3, 1, 2)
    absolute = to_absolute(boxes, sizes)
    torch.testing.assert_close(to_unit(absolute, sizes), boxes)
    torch.testing.assert_close(absolute[1], to_absolute(boxes[1], torch.tensor([33, 7])))
    assert not torch.allclose(absolute[1], to_absolute(boxes[1], torch.tensor([7, 33])))
