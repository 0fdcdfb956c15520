"""Other views of images and the partners found in them: planted squares, loops over pairs, padded batches."""

import math
from functools import partial

import pytest
import torch
from configs import checked
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from padded_scenes import NUM_CLASSES, batch_of, images_of
from torchvision.ops import box_iou

from alpl.boxes.warped import warp_boxes, warp_points
from alpl.data.batch import Batch
from alpl.errors import ConfigError
from alpl.machine.seeding import generator
from alpl.modules.augmented_views import FCDR, CutOut, Mirror, Rotate, Shrink, with_views
from alpl.modules.detector import Suppression
from alpl.predictions import Form, Need, Posterior, Predictions

SIZE, PADDED = (60, 80), (64, 96)
BOX = torch.tensor([[20.0, 12, 32, 24]])
BEST = Suppression(score_thresh=0.0, nms_thresh=0.5, pre_nms_top_k=12, max_detections=12)


def made(name, *overrides):
    """A tiny detector that has learned nothing, whose detections need no score and have a size."""
    config = checked("data=digit_scenes", f"model={name}", *overrides).model
    torch.manual_seed(0)
    module = instantiate(config, _convert_="all", num_classes=NUM_CLASSES).eval()
    module.acquisition = BEST
    if name == "centernet_tiny":
        torch.nn.init.constant_(module.network.sizes[-1].bias, 6.0)
    return module


def planted():
    """A white square in a padded image."""
    image = torch.zeros(3, *PADDED)
    image[:, 12:24, 20:32] = 1
    return image


@pytest.mark.parametrize("augmentation", [Mirror(), Shrink(), Shrink(0.5), Rotate(), Rotate(-20)])
def test_the_warp_says_where_an_object_went(augmentation) -> None:
    view = augmentation(planted(), SIZE, BOX, generator(0))
    moved = warp_boxes(BOX, view.warp.float())[0]
    rows, columns = (view.image[0] > 0.5).nonzero(as_tuple=True)
    shown = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    torch.testing.assert_close(moved, shown.float(), atol=1.3, rtol=0)
    middle = torch.stack([columns.float().mean(), rows.float().mean()]) + 0.5
    torch.testing.assert_close(middle[None], warp_points(BOX[:, :2] + 6, view.warp.float()), atol=0.3, rtol=0)
    assert not view.image[:, SIZE[0] :].any() and not view.image[:, :, SIZE[1] :].any()  # the padding stays one


def test_mirror_and_shrink_by_hand() -> None:
    image = torch.arange(3.0 * 4 * 6).view(3, 4, 6)
    view = Mirror()(image, (4, 5), BOX, generator(0))
    assert torch.equal(view.image[0, 0], torch.tensor([4.0, 3, 2, 1, 0, 5]))
    assert warp_boxes(BOX, Mirror()(planted(), SIZE, BOX, generator(0)).warp.float()).tolist() == [[48, 12, 60, 24]]
    assert warp_boxes(BOX, Shrink(0.5)(planted(), SIZE, BOX, generator(0)).warp.float()).tolist() == [[10, 6, 16, 12]]


def test_a_rotated_image_is_seen_whole_in_its_own_size() -> None:
    """As released: expanded by the rotation, counter-clockwise, then pressed back; its corners touch the four sides."""
    height, width = SIZE
    warp = Rotate(5)(planted(), SIZE, BOX, generator(0)).warp
    corners = torch.tensor([[0.0, 0], [width, 0], [0, height], [width, height]], dtype=torch.float64)
    at = warp_points(corners, warp)
    whole = torch.tensor([0.0, 0, width, height], dtype=torch.float64)
    torch.testing.assert_close(torch.cat([at.amin(0), at.amax(0)]), whole)
    assert at[1, 1] == pytest.approx(0) and at[0, 0] == pytest.approx(0)  # the upper right corner is the highest
    cos, sin = math.cos(math.radians(5)), math.sin(math.radians(5))
    point = torch.tensor([[60.0, 30]], dtype=torch.float64)  # 20 to the right of the center
    x = 40 + 20 * cos * width / (width * cos + height * sin)
    y = 30 - 20 * sin * height / (height * cos + width * sin)
    assert warp_points(point, warp)[0].tolist() == pytest.approx([x, y])


def test_rectangles_cover_a_part_of_some_object_and_no_object_s_greater_part() -> None:
    boxes, white = torch.tensor([[5.0, 5, 35, 40], [30, 20, 70, 55]]), torch.ones(3, *SIZE)
    numbers = []
    for seed in range(100):
        view = CutOut(number=1)(white, SIZE, boxes, generator(seed))
        black = view.image[0] == 0
        numbers.append(bool(black.any()))
        assert torch.equal(view.warp, torch.eye(3).double()) and bool((white == 1).all())
        if numbers[-1]:
            rows, columns = black.nonzero(as_tuple=True)
            high, wide = int(rows.max() - rows.min() + 1), int(columns.max() - columns.min() + 1)
            assert int(black.sum()) == high * wide  # one rectangle
            assert 0.05 * 60 - 1 <= high <= 0.2 * 60 + 1 and 0.05 * 80 - 1 <= wide <= 0.2 * 80 + 1
            shares = [black[y1:y2, x1:x2].float().mean() for x1, y1, x2, y2 in boxes.long().tolist()]
            assert 0.1 <= max(shares) <= 0.4
    assert sum(numbers) > 50
    assert torch.equal(*(CutOut()(white, SIZE, boxes, generator(3)).image for _ in range(2)))


def test_nothing_is_cut_out_where_nothing_can_be() -> None:
    white = torch.ones(3, *SIZE)
    for boxes in (torch.zeros(0, 4), torch.tensor([[10.0, 10, 10, 30]]), torch.tensor([[0.0, 0, 1, 1]])):
        view = CutOut(shortest=0.2, longest=0.2)(white, SIZE, boxes, generator(0))  # a whole pixel, or nothing of it
        assert bool((view.image == 1).all())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(Shrink, 1.0), "factor must be in \\(0, 1\\), got 1.0"),
        (partial(Rotate, 90), "degrees must be in \\(-90, 90\\), got 90"),
        (partial(CutOut, least=0.5), "least and most must be 0 < least <= most <= 1, got 0.5 and 0.4"),
        (partial(CutOut, shortest=0), "shortest and longest must be"),
        (partial(CutOut, 0), "number must be >= 1, got 0"),
        (partial(made, "fcos_tiny", "+model.augmentations=[]"), "model.augmentations must be null or augmentations"),
        (
            partial(made, "fcos_tiny", "+model.augmentations=[flip]"),
            "model.augmentations must be null or augmentations",
        ),
    ],
)
def test_arguments(make, message) -> None:
    with pytest.raises((ConfigError, InstantiationException), match=message):
        make()


def test_augmentations_come_from_the_config() -> None:
    target = "alpl.modules.augmented_views"
    module = made(
        "ssd_tiny", f"+model.augmentations=[{{_target_:{target}.Mirror}},{{_target_:{target}.Shrink,factor:0.5}}]"
    )
    assert module.augmentations == (Mirror(), Shrink(0.5)) and Need.AUGMENTED in module.provides
    assert module.ensemble([module]).augmentations == module.augmentations


# --- partners


def slow_partners(found, view, warp, size):
    """Of one image, in pixels: (IoU, place in the view) of each detection; None where the view shows nothing."""
    partners = []
    for box in found:
        x1, y1, x2, y2 = warp_boxes(box[None], warp)[0].tolist()
        limits = (size[1], size[0]) * 2
        moved = [min(max(side, 0.0), limit) for side, limit in zip((x1, y1, x2, y2), limits, strict=True)]
        overlaps = [float(box_iou(torch.tensor([moved]), other[None])) for other in view]
        best = max(range(len(overlaps)), key=lambda place: overlaps[place], default=None)  # the first of equal ones
        partners.append(None if best is None else (overlaps[best], best))
    return partners


class Fake:
    """Detects what was drawn: for the images, then for each view, in turn."""

    def __init__(self, batch, times, seed):
        draw = torch.Generator().manual_seed(seed)
        self.parts, self.asked = [], []
        for _ in range(times):
            counts = torch.randint(0, 4, (len(batch.images),), generator=draw)
            row = torch.arange(len(counts)).repeat_interleave(counts)
            corner = torch.rand(len(row), 2, generator=draw) * 60
            boxes = torch.cat([corner, corner + torch.rand(len(row), 2, generator=draw) * 60], 1)
            probs = torch.rand(len(row), NUM_CLASSES + 1, generator=draw).softmax(-1)
            scores, labels = probs[:, 1:].max(1)
            posterior = Posterior(probs, Form.BACKGROUND)
            self.parts.append(Predictions(batch.index, row, posterior, labels, scores, boxes))

    def __call__(self, batch: Batch, needs: Need) -> Predictions:
        self.asked.append((batch, needs))
        return self.parts[len(self.asked) - 1].only(needs)


@pytest.mark.parametrize("first", range(0, 200, 10))
@pytest.mark.sample(1)
def test_partners_equal_a_loop_over_pairs(first) -> None:
    augmentations = [Mirror(), Shrink(), Rotate()]
    for seed in range(first, first + 10):
        batch = batch_of(images_of())
        detect = Fake(batch, 1 + len(augmentations), seed)
        given = with_views(detect, batch, Need.AUGMENTED | Need.BOXES, augmentations)
        assert given.posterior is None and {needs for _, needs in detect.asked[1:]} == {Need.POSTERIOR | Need.BOXES}
        reference = detect.parts[0]
        assert torch.equal(given.views.probs[0], reference.posterior.probs)
        for place, augmentation in enumerate(augmentations):
            view = detect.parts[1 + place]
            for image, (size, shape) in enumerate(zip(batch.sizes.tolist(), batch.shapes.tolist(), strict=True)):
                ratio = torch.tensor([shape[1] / size[1], shape[0] / size[0]] * 2)
                own, others = reference.row == image, view.row == image
                warp = augmentation(batch.images[image], shape, torch.zeros(0, 4), generator(0)).warp.float()
                partners = slow_partners(reference.boxes[own] * ratio, view.boxes[others] * ratio, warp, shape)
                ious, probs = given.view_ious[own, place], given.views.probs[1 + place, own]
                for n, partner in enumerate(partners):
                    if partner is None:
                        assert ious[n].isnan() and probs[n].isnan().all()
                        continue
                    assert float(ious[n]) == pytest.approx(partner[0], abs=1e-4)
                    if partner[0] > 0:
                        assert torch.equal(probs[n], view.posterior.probs[others][partner[1]])
                for label in range(NUM_CLASSES):
                    of_class = view.scores[others & (view.labels == label)]
                    highest = float(of_class.max()) if len(of_class) else 0.0
                    assert float(given.view_scores[image, place, label]) == highest


class Unchanged(Mirror.__base__):
    """The image itself."""

    def __call__(self, image, size, boxes, draws):
        return CutOut()(image, size, boxes[:0], draws)


@pytest.mark.parametrize("name", ["centernet_tiny", "faster_rcnn_tiny", "retinanet_tiny"])
@torch.no_grad()
def test_in_the_image_itself_every_detection_is_its_own_partner(name) -> None:
    module, batch = made(name), batch_of(images_of())
    module.augmentations = Unchanged(), Mirror()
    asked = Need.AUGMENTED | Need.POSTERIOR | Need.BOXES
    assert asked in module.provides and asked in module.ensemble([module, module]).provides
    given = module.predict_batch(batch, asked)
    plain = module.predict_batch(batch, Need.POSTERIOR | Need.BOXES)
    assert torch.equal(given.posterior.probs, plain.posterior.probs) and len(given.row) > 20
    has_area = (given.boxes[:, 2:] > given.boxes[:, :2]).all(1)
    torch.testing.assert_close(given.view_ious[has_area, 0], torch.ones(int(has_area.sum())))
    own = given.views.probs[1][has_area]
    same = (own == given.views.probs[0][has_area]).all(1)
    assert float(same.float().mean()) > 0.9  # others share their box with a detection of a higher score
    assert bool((given.view_ious[:, 1] < 0.9).any())  # the network is not symmetric


@torch.no_grad()
def test_views_do_not_depend_on_what_else_is_in_the_batch() -> None:
    module, batch = made("retinanet_tiny"), batch_of(images_of())
    assert module.augmentations == FCDR
    torch.manual_seed(3)
    whole = module.predict_batch(batch, Need.AUGMENTED)
    torch.rand(5)  # what others draw meanwhile
    one = Batch(*(value[2:3] if isinstance(value, torch.Tensor) else value for value in batch))._replace(targets=None)
    alone, own = module.predict_batch(one, Need.AUGMENTED), whole.row == 2
    torch.testing.assert_close(alone.view_ious, whole.view_ious[own], equal_nan=True, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(alone.view_scores, whole.view_scores[2:3], atol=1e-4, rtol=1e-4)
    torch.manual_seed(4)
    other = module.predict_batch(batch, Need.AUGMENTED)
    assert torch.equal(other.view_ious[:, 2:], whole.view_ious[:, 2:])  # what is drawn is where a rectangle lies
    assert not torch.equal(other.view_ious[:, 1], whole.view_ious[:, 1])


@torch.no_grad()
def test_nothing_found_at_all() -> None:
    module, batch = made("centernet_tiny"), batch_of(images_of())
    module.acquisition = type(module.acquisition)(score_thresh=1.0, nms_thresh=None)
    given = module.predict_batch(batch, Need.AUGMENTED)
    assert given.view_ious.shape == (0, 4) and given.views.probs.shape == (5, 0, NUM_CLASSES)
    assert given.view_scores.shape == (4, 4, NUM_CLASSES) and not given.view_scores.any()
