"""SoftTeacher's module: the teacher is the student's average, and what it finds is what the student is trained on."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from lightning.pytorch import Trainer
from padded_scenes import NUM_CLASSES, batch_of, freeze_norm, images_of, objects_of
from torch.utils.data import DataLoader

from alpl.data.keep_ratio import KeepRatioAugmentation, KeepRatioResize
from alpl.data.pair import SecondView
from alpl.data.scenes import SceneDataModule
from alpl.errors import ConfigError
from alpl.metrics.voc_ap import VOCAveragePrecision
from alpl.modules.detector import Suppression
from alpl.modules.faster_rcnn import FasterRcnnEnsemble
from alpl.modules.pseudo_boxes import PseudoBoxes, TeacherPass
from alpl.modules.soft_teacher import SoftTeacherDetector, Teaching, average
from alpl.modules.soft_teacher import images_of as part_of
from alpl.networks.faster_rcnn import FasterRcnn
from alpl.networks.fpn import TinyFpn
from alpl.networks.proposals import ProposalRules, RegionSampling
from alpl.predictions import Need

KEEP = Suppression(score_thresh=0.05, nms_thresh=0.5, pre_nms_top_k=1000, max_detections=100)
BACKBONE = partial(TinyFpn, width=16, widths=(4, 8, 8, 8, 12))
SCALES = ((12.0, 16.0), (20.0, 28.0), (34.0, 46.0), (56.0, 76.0))
RULES = ProposalRules(post_nms_top_n_train=70, post_nms_top_n_test=60, batch_size_per_image=32)
SAMPLING = RegionSampling(batch_size_per_image=24)
EAGER = Teaching(score_thresh=0.3, sure_thresh=0.35, variance_thresh=0.5)
SIZES = [(64, 64), (64, 96), (96, 64), (64, 64)]
LABELED = [True, False, True, False]


def detector(teaching=EAGER, seed=0, **options):
    torch.manual_seed(seed)
    network = partial(
        FasterRcnn, BACKBONE, anchor_sizes=SCALES, num_roi_maps=3, roi_size=5,
        canonical_scale=64, head_width=20, proposals=RULES, sampling=SAMPLING,
    )  # fmt: skip
    settings = {"optimizer": partial(torch.optim.SGD, lr=0.05), "evaluation": KEEP, "acquisition": KEEP} | options
    module = SoftTeacherDetector(network, NUM_CLASSES, teaching=teaching, metric=VOCAveragePrecision, **settings)
    with torch.no_grad():  # spread out, so that some scores are high
        module.student.network.roi_heads.box_predictor.cls_score.weight.mul_(60)
        module.student.network.roi_heads.box_predictor.bbox_pred.weight.mul_(8)
    average(module.teacher, module.student.network, 0.0)
    module.log = lambda *arguments, **options: None
    return module


def batch(labeled=LABELED, warp=None, second=None):
    """Two of four images have objects; by default the second views are the first."""
    objects = [objects_of(3, seed=number, width=60, height=60, most=20) for number, one in enumerate(labeled) if one]
    given = batch_of(images_of(SIZES), labeled, objects, resize=KeepRatioResize(64, 96))
    warp = torch.eye(3) if warp is None else warp
    return given._replace(second=given.images if second is None else second, warp=warp.expand(len(labeled), 3, 3))


def weights(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def looks(module, given, thresh=0.3):
    teacher = TeacherPass(module.teacher, given)
    return teacher.pseudo_boxes(replace(KEEP, score_thresh=thresh), 3, 0.06)


# --- the teacher


def test_the_teacher_is_the_average_by_hand():
    module, student = detector(seed=0), detector(seed=1).student.network
    before, now = weights(module.teacher), weights(student)
    average(module.teacher, student, 0.9)
    for name, value in module.teacher.state_dict().items():
        expected = 0.9 * before[name] + 0.1 * now[name] if value.is_floating_point() else now[name]
        torch.testing.assert_close(value, expected, atol=1e-6, rtol=1e-5)
    average(module.teacher, student, 0.0)
    assert all(torch.equal(value, now[name]) for name, value in module.teacher.state_dict().items())


def test_in_a_fit_it_follows_every_step():
    """First the plain average (1/2, 2/3, ...), then by momentum; it is saved, and no optimizer changes it."""
    module = detector(Teaching(weight=0, momentum=0.6))
    average(module.teacher, detector(seed=3).student.network, 0.0)  # a fit begins with the student's all the same
    name = "roi_heads.box_predictor.cls_score.weight"
    met = [module.student.network.state_dict()[name].clone()]
    step = SoftTeacherDetector.optimizer_step

    def noted(self, *arguments, **options):
        step(self, *arguments, **options)
        met.append(self.student.network.state_dict()[name].clone())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SoftTeacherDetector, "optimizer_step", noted)
        trainer = Trainer(
            max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(module, DataLoader([small()] * 4, batch_size=None))
    expected = met[0]
    for number, student in enumerate(met[1:]):
        momentum = min(0.6, (number + 1) / (number + 2))
        expected = momentum * expected + (1 - momentum) * student
    torch.testing.assert_close(module.state_dict()[f"teacher.{name}"], expected)
    assert not torch.equal(met[-1], met[0]) and not torch.equal(expected, met[-1])


def small():
    given = batch_of(images_of([(96, 96), (96, 96)]), [True, True], [objects_of(2, seed=1, width=90, height=90)] * 2)
    return given._replace(second=given.images, warp=torch.eye(3).expand(2, 3, 3))


def test_its_parameters_are_neither_trained_nor_counted():
    module = detector()
    [optimizer], _ = module.configure_optimizers()
    trained = {id(one) for group in optimizer.param_groups for one in group["params"]}
    assert trained == {id(one) for one in module.student.network.parameters()}
    assert sum(p.numel() for p in module.asked.parameters()) * 2 == sum(p.numel() for p in module.parameters())
    assert {name.split(".")[0] for name in module.state_dict()} >= {"student", "teacher"}


# --- what it teaches


def test_the_same_views_and_weights_give_the_students_own_backgrounds():
    module, given = detector().eval(), batch([False] * 4)
    network = module.student.network
    maps = network.backbone(given.second)
    regions = [objects_of(8, seed=number, width=60, height=60, most=16).boxes for number in range(4)]
    own = network.regions(maps, regions, given.second).logits.softmax(-1)[:, 0]
    found = TeacherPass(module.teacher, given).background(regions, given.warp)
    assert own.std() > 0.02 * own.mean()
    torch.testing.assert_close(found, own, atol=0, rtol=1e-4)


def test_backgrounds_are_looked_up_where_the_first_view_shows_them():
    """The second view is the mirror image: its regions are the mirrored ones of the first."""
    module = detector().eval()
    given = batch_of(images_of([(96, 128)] * 2), [False] * 2, [])
    width = given.images.shape[-1]
    warp = torch.tensor([[-1.0, 0, width], [0, 1, 0], [0, 0, 1]]).expand(2, 3, 3)
    boxes = objects_of(12, seed=4).boxes
    mirrored = torch.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], 1)
    teacher = TeacherPass(module.teacher, given)
    there, here = (
        teacher.background([mirrored] * 2, warp),
        teacher.background([boxes] * 2, torch.eye(3).expand(2, 3, 3)),
    )
    torch.testing.assert_close(there, here, atol=1e-5, rtol=1e-4)


def test_a_second_stage_that_changes_nothing_leaves_the_jitter_and_one_that_is_sure_leaves_none(monkeypatch):
    module, given = detector().eval(), batch([False] * 4)
    found = looks(module, given)
    assert sum(len(each.labels) for each in found) > 5
    assert all((each.variances > 0.001).all() and (each.scores > 0.3).all() for each in found)
    monkeypatch.setattr(  # every box that it is asked about is the same one to it
        module.teacher, "decode", lambda deltas, boxes: torch.tensor([4.0, 4, 30, 40]).expand(len(boxes), 4)
    )
    assert not any(each.variances.any() for each in looks(module, given))


def test_pseudo_boxes_move_to_the_second_view_and_are_dropped_beyond_it():
    boxes = torch.tensor([[0.0, 0, 10, 10], [50.0, 20, 70, 40], [90.0, 20, 99, 40]])
    found = PseudoBoxes(boxes, torch.tensor([0, 1, 2]), torch.tensor([0.9, 0.8, 0.7]), torch.zeros(3))
    to_the_right = torch.tensor([[1.0, 0, 40], [0, 1, -5], [0, 0, 1]])
    seen = found.seen(to_the_right, torch.tensor([60, 100]))
    assert seen.boxes.tolist() == [[40, 0, 50, 5], [90, 15, 100, 35]]
    assert seen.labels.tolist() == [0, 1] and seen.targets()["labels"].tolist() == [1, 2]


def test_the_teacher_sees_the_first_views_of_unlabeled_images_and_the_student_the_second_of_all():
    module, given = detector(), batch()
    parts = {True: weights_of_step(module, given)}
    for kept in (True, False):  # noise in the first views of one kind
        changed = given.images.clone()
        changed[given.labeled if kept else ~given.labeled] += 1
        parts["labeled" if kept else "unlabeled"] = weights_of_step(module, given._replace(images=changed))
    assert parts["labeled"] == parts[True] != parts["unlabeled"]
    second = given.second.clone()
    second[given.labeled] += 1
    assert weights_of_step(module, given._replace(second=second)) != parts[True]


def weights_of_step(module, given):
    """The loss of a step from the same random numbers."""
    torch.manual_seed(7)
    module.train()
    return module.training_step(given, 0)["loss"].item()


def test_what_is_steady_trains_boxes_and_what_is_sure_trains_the_rest():
    module, given = detector(), batch([False] * 4)
    freeze_norm(module)
    rules = {
        "none": Teaching(score_thresh=0.3, sure_thresh=1, variance_thresh=0),
        "steady": Teaching(score_thresh=0.3, sure_thresh=1, variance_thresh=9),
        "sure": Teaching(score_thresh=0.3, sure_thresh=0.3, variance_thresh=0),
    }
    parts = {}
    for name, module.teaching in rules.items():
        torch.manual_seed(3)
        parts[name] = {part: loss.item() for part, loss in module._taught(given).parts.items()}
    for name in ("none", "steady"):
        assert parts[name]["loss_rpn_box_reg"] == 0
    assert parts["sure"]["loss_rpn_box_reg"] > 0
    assert parts["none"]["loss_box_reg"] == parts["sure"]["loss_box_reg"] == 0 < parts["steady"]["loss_box_reg"]
    assert parts["none"]["loss_classifier"] == parts["steady"]["loss_classifier"] != parts["sure"]["loss_classifier"]


def test_without_pseudo_boxes_every_weight_is_trained_and_the_loss_is_that_of_backgrounds():
    module, given = detector(Teaching(score_thresh=1)), batch([False] * 4)
    step = module.train().training_step(given, 0)
    assert step["positives"] is None and step["loss"] > 0
    step["loss"].backward()
    assert all(one.grad is not None for one in module.student.parameters())
    assert all(one.grad is None for one in module.teacher.parameters())


def test_with_no_image_unlabeled_it_is_plain_training():
    given = batch([True] * 4)
    losses = [weights_of_step(detector(teaching), given) for teaching in (EAGER, Teaching(weight=0))]
    module = detector()
    torch.manual_seed(7)
    targets = [{"boxes": o.boxes, "labels": o.labels + 1} for o in (given.targets.of(row) for row in range(4))]
    shapes = [tuple(shape) for shape in given.shapes.tolist()]
    plain = module.student.network.train().losses(given.images, shapes, targets).parts
    assert losses[0] == losses[1] == pytest.approx(sum(plain.values()).item())


def test_labels_of_unlabeled_images_have_no_way_in_and_positives_are_of_labeled_ones():
    module, given = detector(), batch()
    module.wants_positives = True
    pseudo = given._replace(  # the third has objects that a model found
        labeled=torch.tensor([True, False, False, False]), pseudo=torch.tensor([False, False, True, False])
    )
    step = module.train().training_step(pseudo, 0)
    assert set(step["positives"].row.tolist()) == {0}
    assert set(module.training_step(given, 0)["positives"].row.tolist()) == {0, 1}
    assert part_of(given, ~given.labeled).targets is None


# --- asked and checked


def test_the_student_is_asked():
    module, given = detector().eval(), batch([False] * 4)
    needs = Need.POSTERIOR | Need.BOXES
    theirs = module.student.detect(given, KEEP, needs)
    average(module.teacher, detector(seed=5).student.network, 0.0)
    assert torch.equal(module.detect(given, KEEP, needs).boxes, theirs.boxes) and len(theirs.boxes)
    assert module.provides == module.student.provides
    ensemble = SoftTeacherDetector.ensemble([module, detector(seed=5).eval()])
    assert isinstance(ensemble, FasterRcnnEnsemble) and ensemble.detectors[0] is module.student


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": -1}, "weight must be >= 0 and finite, got -1"),
        ({"momentum": 1.5}, r"momentum must be in \[0, 1\], got 1.5"),
        ({"sure_thresh": 90}, r"sure_thresh must be in \[0, 1\]"),
        ({"jitters": 1}, "jitters must be an int >= 2, got 1"),
        ({"variance_thresh": float("nan")}, "variance_thresh must be >= 0"),
    ],
)
def test_settings_are_checked(options, message):
    with pytest.raises(ConfigError, match=rf"model\.teaching\.{message}"):
        Teaching(**options)


def test_data_without_second_views_or_unlabeled_images_are_refused():
    def data(**options):
        resize = KeepRatioResize(96, 96)
        return SceneDataModule(None, KeepRatioAugmentation(96, 96), resize, batch_size=10, seed=0, **options)

    def pair(first, generator):
        return SecondView(first, torch.eye(3))

    with pytest.raises(ConfigError, match=r"data\.pair must be given"):
        detector().check_data(data(labeled_fraction=0.2))
    with pytest.raises(ConfigError, match=r"data\.labeled_fraction must be below 1"):
        detector().check_data(data(pair=pair))
    detector().check_data(data(pair=pair, labeled_fraction=0.2))
    detector(Teaching(weight=0)).check_data(data(pair=pair))
    assert detector()._looked_at() == Suppression(0.3, 0.5, 1000, 100)
