"""SVMs take the place of a frozen classifier's last layer, on the features of the labeled images."""

import csv
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from command import alpl
from omegaconf import open_dict
from torch import nn

from alpl.callbacks.svm_head import SvmHead
from alpl.commands.sweep import compose_job
from alpl.data.datamodule import ImageDataModule
from alpl.errors import ConfigError
from alpl.experiment import make_experiment
from alpl.machine.files import read_tensors
from alpl.modules.classifier import Classifier
from alpl.networks.classification import ClassificationNetwork
from alpl.networks.linear_svm import one_vs_rest
from alpl.networks.small_cnn import SmallCnn
from alpl.pool import Pool

RUN = ("data=digits", "scale=smoke_digits", "method=svm_margin_self_trained", "num_threads=1", "~pretrained")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a frozen backbone starts from here; a pre-trained one: tests/sharing/test_pretraining.py."""
    torch.manual_seed(0)
    network = ClassificationNetwork(partial(SmallCnn, widths=[16, 32]), 10, 1)
    path = tmp_path_factory.mktemp("weights") / "network.pt"
    torch.save(network.state_dict(), path)
    return path


def test_the_head_is_that_of_the_labeled_images(weights: Path, tmp_path: Path) -> None:
    result = alpl(tmp_path, *RUN, f"model.weights={weights}", "informativeness=false")
    assert result.status == 0, result.err
    run = result.run_folder()
    config = compose_job([*RUN, f"model.weights={weights}"])
    with open_dict(config):
        del config["hydra"]
    data = make_experiment(config).data
    data.setup("fit")
    assert isinstance(data, ImageDataModule)
    _, targets = data.take_targets()
    images, labeled = data.splits.train.images, Pool.load(run / "cycle_00" / "pool.csv").labeled
    model = read_tensors(run / "cycle_00" / "model.pt")
    network = ClassificationNetwork(partial(SmallCnn, widths=[16, 32]), 10, 1).eval()
    network.load_state_dict({name.removeprefix("network."): v for name, v in model.items() if name[:8] == "network."})
    with torch.no_grad():
        features = network.backbone(data.prepared(images))
    weight, bias = one_vs_rest(features[labeled], targets[labeled], 10, regularization=5.0, solver="linear_svc")
    assert torch.allclose(network.head.weight, weight, atol=1e-4) and torch.allclose(network.head.bias, bias, atol=1e-4)
    decided = features @ network.head.weight.detach().T + network.head.bias.detach()
    with (run / "cycle_00" / "query.csv").open() as stream:
        chosen = [int(row["index"]) for row in csv.DictReader(stream)]
    unlabeled = Pool.load(run / "cycle_00" / "pool.csv").unlabeled
    order = decided[unlabeled].abs().amin(1).argsort()[: len(chosen)]
    assert set(chosen) == set(np.asarray(unlabeled)[order].tolist())


def test_refuses_what_learns_its_features() -> None:
    network = partial(ClassificationNetwork, backbone=partial(SmallCnn, widths=[4, 6]))
    module = Classifier(network, 10, 1, optimizer=torch.optim.SGD)
    for other in (module, nn.Linear(1, 1)):
        with pytest.raises(ConfigError, match=r"callbacks\.svm must be beside a frozen Classifier"):
            SvmHead().on_fit_start(mock.Mock(), other)
