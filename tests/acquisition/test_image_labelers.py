"""Pseudo-labels of images, by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch

from alpl.acquisition import ConfidentImages, Context, MostCertain
from alpl.acquisition.image_labelers import modal_label
from alpl.errors import ConfigError, DataError
from alpl.labeling.pseudo_labels import AbstractPseudoLabels, ImagePseudoLabels, PseudoLabels
from alpl.pool import Pool
from alpl.predictions import Need, Posterior, Predictions

HISTORY = np.array([[0, 1, 2, 1], [0, 2, 2, 1], [1, 2, 2, 1]])  # dispersion 1/3 1/3 0 0; images 1 2 3 4


def _context(cycle: int = 0) -> Context:
    pool = Pool(torch.tensor([cycle, -1, -1, -1, -1]))
    probs = torch.tensor([[0.6, 0.4, 0.0], [1.0, 0.0, 0.0], [0.0, 0.999, 0.001], [0.4, 0.3, 0.3]])
    seen = Predictions(pool.unlabeled, torch.arange(4), posterior=Posterior(probs))
    return Context(pool, 0, 5, unlabeled=seen, history=HISTORY)


def test_labels_are_of_the_last_epoch_or_the_modal_ones() -> None:
    assert modal_label(HISTORY).tolist() == [0, 2, 2, 1]
    last = MostCertain(4, "dispersion", "last").label(_context())
    assert last.index.tolist() == [1, 2, 3, 4] and last.labels.tolist() == [1, 2, 2, 1]
    assert MostCertain(4, "dispersion", "modal").label(_context()).labels.tolist() == [0, 2, 2, 1]
    assert last.certainty.tolist() == pytest.approx([-1 / 3, -1 / 3, 0, 0])


def test_the_least_dispersed_are_labeled_first() -> None:
    assert MostCertain(2, "dispersion").label(_context()).index.tolist() == [3, 4]
    assert MostCertain("20%", "dispersion").label(_context()).index.tolist() in ([3], [4])  # one of five, by a draw


def test_the_lowest_entropy_is_labeled_first() -> None:
    found = MostCertain(2, "entropy").label(_context())
    assert found.index.tolist() == [2, 3] and found.labels.tolist() == [0, 1]
    assert MostCertain(9, "entropy").label(_context()).index.tolist() == [1, 2, 3, 4]  # no more than there are


def test_needs_are_those_of_what_is_asked() -> None:
    assert MostCertain(1, "dispersion").needs == Need.HISTORY
    assert MostCertain(1, "entropy").needs == Need.POSTERIOR
    assert MostCertain(1, "entropy", "modal").needs == Need.POSTERIOR | Need.HISTORY


def test_ceals_threshold_falls_with_the_cycle() -> None:
    assert ConfidentImages(0.01, 0.0).label(_context()).index.tolist() == [2, 3]  # entropies 0 and 0.0079
    assert ConfidentImages(0.01, 0.001).label(_context(3)).index.tolist() == [2]  # 0.007
    assert ConfidentImages(0.0, 0.0).label(_context()).index.tolist() == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MostCertain(1, by="margin"), "pseudo_labels.by must be dispersion or entropy, got 'margin'"),
        (lambda: MostCertain(1, label="first"), "pseudo_labels.label must be last or modal, got 'first'"),
        (lambda: MostCertain("ten"), "pseudo_labels.amount"),
        (lambda: ConfidentImages(-1.0), "pseudo_labels.delta must be finite and >= 0, got -1.0"),
    ],
)
def test_refuses(make, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_both_forms_are_read_back(tmp_path: Path) -> None:
    images = ImagePseudoLabels(torch.tensor([2, 5]), torch.tensor([1, 0]), torch.tensor([-0.25, 0.0]).double())
    images.save(tmp_path / "p.csv")
    again = AbstractPseudoLabels.load(tmp_path / "p.csv")
    assert isinstance(again, ImagePseudoLabels) and again.labels.tolist() == [1, 0] and again.num_labels == 2
    assert (tmp_path / "p.csv").read_text() == "index,label,certainty\n2,1,-0.25\n5,0,0.0\n"
    none = torch.zeros(0, dtype=torch.long)
    PseudoLabels(none, none, torch.zeros(0), torch.zeros(0, 4)).save(tmp_path / "p.csv")
    assert isinstance(AbstractPseudoLabels.load(tmp_path / "p.csv"), PseudoLabels)
    (tmp_path / "p.csv").write_text("index,label,certainty\n2,1\n")
    with pytest.raises(DataError, match="is no whole file of pseudo-labels"):
        AbstractPseudoLabels.load(tmp_path / "p.csv")
    (tmp_path / "p.csv").write_text("a,b\n")
    with pytest.raises(DataError, match="must begin with index,label,score"):
        AbstractPseudoLabels.load(tmp_path / "p.csv")
