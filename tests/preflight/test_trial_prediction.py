"""What an untrained model shows: all that is asked for, and nothing of the run is disturbed by it."""

import random
from unittest import mock

import numpy as np
import pytest
import torch
from omegaconf import open_dict

from alpl.commands.sweep import compose_job
from alpl.errors import ConfigError, DataError
from alpl.experiment import make_experiment
from alpl.predictions import FROM_MODULE, Need, Posterior, Predictions
from alpl.preflight.trial_prediction import trial_prediction

SCENES = ("data=digit_scenes", "+data.source.num_train=4", "+data.source.num_test=1")
MODELS = {
    "digits_cnn": ("data=digits",),
    "ssd_tiny_gmm": SCENES,
    "retinanet_tiny": SCENES,
    "fcos_tiny": SCENES,
    "faster_rcnn_tiny": SCENES,
    "ddod_tiny": SCENES,
    "centernet_tiny": SCENES,
}
IMAGES = torch.tensor([1, 3])


def parts(*overrides):
    """Data that is set up, and a fresh module."""
    config = compose_job(overrides)
    with open_dict(config):
        del config["hydra"]
    experiment = make_experiment(config)
    experiment.data.setup("fit")
    return experiment.data, experiment.make_module(**experiment.data.module_arguments)


@pytest.fixture(scope="module", params=MODELS)
def data_and_module(request):
    return parts(*MODELS[request.param], f"model={request.param}")


def without(needs, module):
    """FLIP and VIEWS share a field."""
    return module.provides & FROM_MODULE & ~needs


@pytest.mark.sample(3)
@pytest.mark.parametrize("less", [Need.FLIP, Need.VIEWS])
def test_it_is_what_the_predict_stage_would_give(data_and_module, less):
    data, module = data_and_module
    needs, suppression = without(less, module), getattr(module, "acquisition", None)
    shown = trial_prediction(module, needs, data, IMAGES)
    assert shown.index.tolist() == [1, 3]
    is_detection = Need.BOXES in needs
    # a detector that has learned nothing reaches no threshold: here it has detections on both images all the same
    assert set(shown.row.tolist()) == {0, 1} and (len(shown.row) > 2) == is_detection
    module.acquisition = suppression
    torch.manual_seed(0)
    with torch.no_grad():
        real = module.predict_batch(
            data.on_after_batch_transfer(next(iter(data.observing(IMAGES).predict_dataloader())), 0), needs
        )
    assert shown.forms() == real.forms()
    for name, array in shown.arrays().items():
        assert array.shape[1:] == real.arrays()[name].shape[1:], name


def test_nothing_is_disturbed(data_and_module):
    data, module = data_and_module
    predict = type(module).predict_batch

    def draws(self, batch, needs):
        random.random(), np.random.rand(), torch.rand(1)  # noqa: NPY002
        return predict(self, batch, needs)

    before = {name: value.clone() for name, value in module.state_dict().items()}
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # noqa: NPY002
    module.train()
    with mock.patch.object(type(module), "predict_batch", draws):
        trial_prediction(module, without(Need.FLIP, module), data, IMAGES)
    assert random.getstate() == states[0] and np.random.get_state()[1].tolist() == states[1]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), states[2])
    after = module.state_dict()  # running statistics of batch norm are part of it
    assert before.keys() == after.keys() and all(torch.equal(after[name], value) for name, value in before.items())
    assert all(parameter.grad is None for parameter in module.parameters())


def test_an_ensemble_has_a_view_a_member():
    data, module = parts("data=digits", "model.network.dropout=0")
    shown = trial_prediction(module.ensemble([module] * 3), Need.VIEWS | Need.POSTERIOR, data, IMAGES)
    assert shown.views.probs.shape == (3, 2, 10)


def test_no_worker_processes_start():
    data, module = parts(*SCENES, "model=ssd_tiny", "data.num_workers=2")
    with mock.patch("torch.utils.data.dataloader._MultiProcessingDataLoaderIter", side_effect=AssertionError):
        shown = trial_prediction(module, Need.POSTERIOR, data, IMAGES)
    assert shown.num_images == 2


def digits_with(predict):
    data, module = parts("data=digits")
    module.predict_batch = predict
    return data, module


def test_what_fails_is_named():
    def fail(batch, needs):
        raise RuntimeError("mat1 and mat2\ncannot be multiplied")

    data, module = digits_with(fail)
    message = "model Classifier fails to predict images of the pool: RuntimeError: mat1 and mat2 cannot be multiplied"
    with pytest.raises(ConfigError, match=message):
        trial_prediction(module, Need.POSTERIOR, data, IMAGES)


@pytest.mark.parametrize("kind", [ConfigError, DataError])
def test_what_explains_itself_passes(kind):
    data, module = digits_with(mock.Mock(side_effect=kind("image 7 is broken")))
    with pytest.raises(kind, match=r"^image 7 is broken$"):
        trial_prediction(module, Need.POSTERIOR, data, IMAGES)


@pytest.mark.parametrize(
    ("fields", "needs", "message"),
    [
        ({}, Need.VIEWS, "model Classifier must give VIEWS, as it says that it provides it, got none"),
        ({}, Need.POSTERIOR, "must give POSTERIOR"),
        ({"posterior": Posterior(torch.ones(2, 10))}, Need.POSTERIOR | Need.FEATURES, "must give FEATURES"),
        ({"posterior": Posterior(torch.ones(2, 9))}, Need.POSTERIOR, "must give probabilities of 10 classes, got 9"),
        ({"views": Posterior(torch.ones(3, 2, 11))}, Need.VIEWS, "must give probabilities of 10 classes, got 11"),
    ],
)
def test_what_a_module_promises_and_does_not_give_is_named(fields, needs, message):
    data, module = digits_with(lambda batch, needs: Predictions(batch.index, torch.arange(2), **fields))
    with pytest.raises(ConfigError, match=message):
        trial_prediction(module, needs, data, IMAGES)
