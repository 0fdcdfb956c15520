import pytest
import torch

from alpl.data.digit_scenes import MOST_COVERED, Artist, DigitScenes
from alpl.data.digits import Digits
from alpl.data.drawing import VISIBLE, cut, warp
from alpl.errors import ConfigError
from alpl.machine.seeding import generator


@pytest.fixture(scope="module")
def splits():
    return DigitScenes(60, 30).load()


def _all(objects, name):
    return torch.cat([getattr(each, name) for each in objects])


def test_shapes_types_and_names(splits):
    assert len(splits.train) == len(splits.train_objects) == 60 and len(splits.test) == len(splits.test_objects) == 30
    assert splits.train[3].shape == (3, 96, 96) and splits.train[3].dtype == torch.uint8
    assert splits.train.sizes.tolist() == [[96, 96]] * 60 and splits.classes == tuple("0123456789")
    assert splits.train.names[7] == "train_00007" and splits.test.names[7] == "test_00007"
    assert splits.excluded is None and not _all(splits.train_objects, "difficult").any()


def test_scenes_do_not_depend_on_their_number_and_come_again(splits):
    few = DigitScenes(5, 3).load()
    for one, many in (
        (few.train, splits.train),
        (few.test, splits.test),
    ):
        assert all(torch.equal(one[k], many[k]) for k in range(len(one)))
    for k in range(5):
        assert torch.equal(few.train_objects[k].boxes, splits.train_objects[k].boxes)
        assert torch.equal(few.train_objects[k].labels, splits.train_objects[k].labels)


def test_global_generators_have_no_part_in_it(splits):
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    assert torch.equal(DigitScenes(1, 1).load().train[0], splits.train[0])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_other_seeds_and_splits_give_other_scenes(splits):
    other = DigitScenes(5, 5, seed=1).load()
    assert not any(torch.equal(other.train[k], splits.train[k]) for k in range(5))
    same = torch.stack([(splits.train[k] == splits.test[k]).float().mean() for k in range(5)])
    assert same.max() < 0.2  # no common canvas either


def test_boxes_lie_in_the_image_and_have_many_sizes(splits):
    boxes = _all(splits.train_objects, "boxes")
    assert (boxes[:, 2:] > boxes[:, :2]).all() and boxes.min() >= 0 and boxes.max() <= 96
    height = boxes[:, 3] - boxes[:, 1]
    assert height.min() < 18 and height.max() > 36
    assert torch.equal(boxes, boxes.round())


def test_one_to_five_digits_of_all_classes(splits):
    counts = torch.tensor([len(each) for each in splits.train_objects])
    assert counts.min() == 1 and counts.max() == 5
    assert _all(splits.train_objects, "labels").unique().tolist() == list(range(10))
    assert max(len(each) for each in DigitScenes(20, 1, most_digits=2).load().train_objects) == 2


def test_digits_overlap_only_a_little(splits):
    for objects in splits.train_objects:
        for k, one in enumerate(objects.boxes.tolist()):
            for other in objects.boxes[:k].tolist():
                width = min(one[2], other[2]) - max(one[0], other[0])
                height = min(one[3], other[3]) - max(one[1], other[1])
                area = min((b[2] - b[0]) * (b[3] - b[1]) for b in (one, other))
                assert max(0, width) * max(0, height) <= MOST_COVERED * area


def test_a_box_is_tight_around_visible_ink():
    opacity = torch.zeros(9, 8)
    opacity[2, 3], opacity[6, 5], opacity[4, 1], opacity[7, 4] = 0.9, VISIBLE, 0.5, VISIBLE - 0.01
    tight = cut(opacity)
    assert torch.equal(tight, opacity[2:7, 1:6])
    assert (tight >= VISIBLE).any(1)[[0, -1]].all() and (tight >= VISIBLE).any(0)[[0, -1]].all()


def test_every_digit_of_the_set_leaves_ink_at_every_size():
    digits = Digits().load().train.images[:, 0].float() / 255
    random = generator(0, "test")
    for k in range(0, len(digits), 9):
        for height in (4.5, 13.0, 43.0):
            ink = cut(warp(digits[k], height, random))
            assert ink.max() > 0.5 and 0.4 * height < ink.shape[0] < 1.6 * height + 2


def test_the_ink_is_where_the_box_says(splits):
    # without clutter and noise the change of the canvas is the digit
    artist = Artist(Digits().load().train, (64, 64), 1, 1.0)
    inside = outside = 0.0
    for k in range(20):
        (image, objects), (blank, _) = (_draw(artist, k, painted) for painted in (True, False))
        x1, y1, x2, y2 = objects.boxes[0].int().tolist()
        change = (image.float() - blank.float()).abs().sum(0)
        inside += float(change[y1:y2, x1:x2].sum())
        change[y1:y2, x1:x2] = 0
        outside += float(change.sum())
    assert inside > 0 and outside == 0


def _draw(artist, seed, painted):
    """Draw a scene with or without its digit: the draws of color follow those of everything else but the noise."""
    import alpl.data.digit_scenes as module

    original, calls = module.paint, []

    def paint(canvas, opacity, box, random):
        before = canvas.clone()
        original(canvas, opacity, box, random)
        calls.append((before, canvas))
        if not painted:
            canvas.copy_(before)

    fragment = artist.__class__.fragment
    module.paint, artist.__class__.fragment = paint, lambda self, canvas, random: None
    try:
        return artist.draw(generator(seed, "paint"))
    finally:
        module.paint, artist.__class__.fragment = original, fragment


def test_training_and_test_scenes_show_different_handwriting():
    digits = Digits().load()
    train = {image.numpy().tobytes() for image in digits.train.images}
    test = [image.numpy().tobytes() for image in digits.test.images]
    assert sum(image in train for image in test) == 0


@pytest.mark.slow
def test_imbalance_makes_late_digits_rare_in_training_only():
    splits = DigitScenes(150, 150, 48, imbalance=100).load()
    train = _all(splits.train_objects, "labels").bincount(minlength=10)
    test = _all(splits.test_objects, "labels").bincount(minlength=10)
    assert train[:3].sum() > 4 * train[-4:].sum() and test.min() > 0.4 * test.max()


def test_canvases_need_not_be_square():
    splits = DigitScenes(3, 1, (48, 120)).load()
    assert splits.train[0].shape == (3, 48, 120) and splits.train.sizes[0].tolist() == [48, 120]


def test_an_image_is_a_copy(splits):
    splits.train[0].zero_()
    assert splits.train[0].any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_train": 0}, "num_train must be >= 1, got 0"),
        ({"num_test": 0}, "num_test must be >= 1, got 0"),
        ({"most_digits": 0}, "most_digits must be >= 1, got 0"),
        ({"size": 31}, r"size must be a side or \(H, W\) of at least 32 pixels, got 31"),
        ({"size": (40, 40, 3)}, r"size must be a side or \(H, W\)"),
        ({"imbalance": 0.5}, "imbalance must be >= 1, got 0.5"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ConfigError, match=message):
        DigitScenes(**settings)
