"""Every acquisition of the package passes its rehearsal; what cannot work with a model's predictions does not."""

import random

import numpy as np
import pytest
import torch
from rehearsals import rehearse, shown_by

import alpl.acquisition as package
from alpl.acquisition import (
    AbstractAcquisition,
    Ccms,
    Context,
    DetectionUncertainty,
    DifficultyWeights,
    Entropy,
    FlowTracker,
    GlobalSimilarity,
    KCenter,
    LeastConfidence,
    Medoids,
    MixtureUncertainty,
    Query,
    RandomSampling,
    Then,
)
from alpl.errors import ConfigError
from alpl.predictions import FROM_MODULE, Form, Need, Posterior, Predictions
from alpl.preflight.rehearsal import rehearse as rehearse_on

CLASSIFIER = Need.POSTERIOR | Need.IMAGE_FEATURES | Need.VIEWS | Need.HISTORY
DETECTOR = Need.POSTERIOR | Need.IMAGE_FEATURES | Need.FEATURES | Need.VIEWS | Need.FLIP | Need.BOXES

WRAPPED = {  # what those that wrap others are tried with
    "BalancedGreedy": {"greedy": KCenter()},
    "ClassBalanced": {"ranking": Entropy()},
    "ClusterMargin": {"ranking": Entropy()},
    "ClassWeighted": {"ranking": DetectionUncertainty(), "weights": DifficultyWeights()},
    "Dbal": {"ranking": Entropy()},
    "DivProto": {"ranking": DetectionUncertainty()},
    "Enms": {"ranking": DetectionUncertainty()},
    "PseudoLabelBalanced": {"ranking": Entropy()},
    "ImageDiscriminator": {"latent": None, "epochs": 1},
    "Medoids": {"similarity": Ccms()},
    "Noris": {"information": LeastConfidence()},
    "ObjectDiscriminator": {"latent": 4, "epochs": 1},
    "ObjectNoris": {"information": DetectionUncertainty("least_confidence")},
    "Stochastic": {"ranking": Entropy()},
    "Spaced": {"ranking": RandomSampling()},
    "SpacedByFeature": {"ranking": RandomSampling()},
    "TemporalCoherence": {"tracker": FlowTracker()},
    "Then": {"first": RandomSampling(), "second": KCenter()},
    "UncertaintyHerding": {"ranking": Entropy()},
}
OF_DETECTIONS = (
    "ClassWeighted",
    "DetectionErrors",
    "DetectionUncertainty",
    "DivProto",
    "Enms",
    "FlipInconsistency",
    "Medoids",
    "ObjectDiscriminator",
    "ObjectNoris",
    "TemporalCoherence",
)

OURS = [
    getattr(package, name)
    for name in package.__all__
    if isinstance(getattr(package, name), type)
    and issubclass(getattr(package, name), AbstractAcquisition)
    and not name.startswith("Abstract")
    and getattr(package, name).can_rehearse
]


@pytest.mark.parametrize("kind", OURS)
@pytest.mark.parametrize("num_classes", [2, 10])
def test_our_own_pass(kind, num_classes):
    acquisition = kind(**WRAPPED.get(kind.__name__, {}))
    rehearse(acquisition, DETECTOR if kind.__name__ in OF_DETECTIONS else CLASSIFIER, num_classes)


def test_medoids_of_detections_wrapped_in_two_stages():
    rehearse(Then(DetectionUncertainty(), Medoids(Ccms()), 2.0), DETECTOR, 4)


def test_a_ranking_of_whole_images_refuses_a_detector_s_instances():
    with pytest.raises(ConfigError, match="predictions must hold one instance an image"):
        rehearse(Entropy(), DETECTOR, 10)


def test_it_leaves_the_global_generators_where_they_were():
    class Draws(Spy):
        def select(self, context: Context) -> Query:
            random.random(), np.random.rand(), torch.rand(1)  # noqa: NPY002
            return super().select(context)

    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # noqa: NPY002
    rehearse(Draws(Need.POSTERIOR), CLASSIFIER, 10)
    assert random.getstate() == states[0] and np.random.get_state()[1].tolist() == states[1]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), states[2])


# --- made-up predictions are like those shown


class Spy(AbstractAcquisition):
    """Keeps what it is shown."""

    def __init__(self, needs: Need) -> None:
        self.needs = needs

    def select(self, context: Context) -> Query:
        self.context = context
        return Query(context.pool.unlabeled[: context.budget], torch.zeros(context.budget))


ALL = FROM_MODULE & ~Need.VIEWS | Need.LABELED


def test_fields_are_as_wide_as_those_shown():
    width, outputs = torch.zeros(3, 7), torch.full((4, 3, 5), 0.2)
    shown = Predictions(
        index=torch.arange(2),
        row=torch.tensor([0, 0, 1]),
        posterior=Posterior(outputs[0], Form.SIGMOID),
        boxes=torch.zeros(3, 4),
        features=width,
        image_features=torch.zeros(2, 11),
        views=Posterior(outputs, Form.SIGMOID),
        predicted_loss=torch.zeros(2),
        uncertainties=torch.tensor([[1.0, float("nan"), float("nan"), 1.0]] * 2 + [[1.0, float("nan"), 1.0, 1.0]]),
        logits=torch.zeros(3, 5),
        view_ious=torch.zeros(3, 3),
        view_scores=torch.zeros(2, 3, 5),
    )
    spy = Spy(ALL)
    rehearse_on(spy, shown, 5, is_detection=True)
    for made_up, images in ((spy.context.unlabeled, 30), (spy.context.labeled, 10)):
        number = len(made_up.row)
        assert made_up.num_images == images and set(made_up.row.bincount(minlength=images).tolist()) == {0, 1, 2, 3}
        assert made_up.posterior.probs.shape == (number, 5) and made_up.posterior.form is Form.SIGMOID
        assert made_up.views.probs.shape == (4, number, 5) and made_up.views.form is Form.SIGMOID
        assert torch.equal(made_up.views[0].probs, made_up.posterior.probs)
        assert (made_up.posterior.probs.sum(-1) - 1).abs().max() > 0.1  # independent classes
        assert made_up.features.shape == (number, 7) and made_up.image_features.shape == (images, 11)
        assert made_up.view_ious.shape == (number, 3) and made_up.view_scores.shape == (images, 3, 5)
        assert made_up.boxes.shape == (number, 4) and made_up.predicted_loss.shape == (images,)
        assert made_up.labels.shape == made_up.scores.shape == (number,) and int(made_up.labels.max()) < 5
        # what is not known of any instance is not known at all
        assert made_up.uncertainties.isnan().any(0).tolist() == [False, True, False, False]
        assert bool((made_up.uncertainties.nan_to_num() >= 0).all())


def test_uncertainties_are_known_where_nothing_was_detected():
    shown = shown_by(Need.UNCERTAINTIES, 3, is_detection=True)
    none = Predictions(shown.index, shown.row[:0], uncertainties=shown.uncertainties[:0])
    spy = Spy(Need.UNCERTAINTIES)
    rehearse_on(spy, none, 3, is_detection=True)
    assert not spy.context.unlabeled.uncertainties.isnan().any()


def test_a_classifier_s_images_have_one_instance():
    spy = Spy(Need.POSTERIOR)
    rehearse_on(spy, shown_by(Need.POSTERIOR, 4, is_detection=False), 4, is_detection=False)
    assert spy.context.posterior.probs.shape == (30, 4) and spy.context.posterior.form is Form.SOFTMAX
    assert spy.context.labeled is None


def test_what_is_not_declared_is_not_there():
    spy = Spy(Need.IMAGE_FEATURES)
    rehearse_on(spy, shown_by(FROM_MODULE, 4, is_detection=True), 4, is_detection=True)
    present = spy.context.unlabeled.forms().keys()
    assert present == {"index", "row", "labels", "scores", "image_features"}
    spy = Spy(Need.NOTHING)
    rehearse_on(spy, shown_by(FROM_MODULE, 4, is_detection=True), 4, is_detection=True)
    assert spy.context.unlabeled is None and spy.context.history is None and spy.context.targets is None


def test_widths_that_do_not_fit_are_named():
    shown = shown_by(Need.IMAGE_FEATURES, 4, is_detection=True, width=128)
    rehearse_on(Medoids(GlobalSimilarity(4)), shown, 4, is_detection=True)
    message = "acquisition Medoids fails on a trial before training: ValueError: num_layers must be .* 128, got 5"
    with pytest.raises(ConfigError, match=message):
        rehearse_on(Medoids(GlobalSimilarity(5)), shown, 4, is_detection=True)


def test_uncertainties_that_the_head_does_not_give_are_named():
    shown = shown_by(Need.UNCERTAINTIES, 4, is_detection=True)
    shown.uncertainties[:, :2] = torch.nan  # a head of boxes alone
    rehearse_on(MixtureUncertainty(["box_aleatoric", "box_epistemic"]), shown, 4, is_detection=True)
    with pytest.raises(ConfigError, match="must have class_epistemic, got NaN: the model's head does not give it"):
        rehearse_on(MixtureUncertainty(["class_epistemic"]), shown, 4, is_detection=True)
