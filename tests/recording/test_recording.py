"""What a cycle leaves for the report; whole runs of it are in test_loop.py, test_gallery.py and test_embedding.py."""

from types import SimpleNamespace

import pytest
import torch

from alpl.data.datamodule import ImageDataModule
from alpl.data.digits import Digits
from alpl.errors import ConfigError
from alpl.labeling import ImagePseudoLabels
from alpl.labeling.oracle import BenchmarkOracle
from alpl.learning import Members
from alpl.pool import Pool
from alpl.predictions import Need
from alpl.recording.recording import Recording

DETECTOR = SimpleNamespace(provides=Need.POSTERIOR | Need.BOXES | Need.IMAGE_FEATURES)
CLASSIFIER = SimpleNamespace(provides=Need.POSTERIOR)


def recording(**options):
    asked = {
        "informativeness": False,
        "gallery": 0,
        "embedding": 0,
        "pseudo_labels": None,
        "learner": Members(),
    } | options
    data = ImageDataModule(Digits, torch.nn.Identity(), batch_size=8, seed=0)
    data.setup()
    _, targets = data.take_targets()
    return Recording(SimpleNamespace(data=data, **asked), BenchmarkOracle(targets)), targets


@pytest.mark.parametrize(
    ("options", "others", "module", "expected"),
    [
        ({}, Need.POSTERIOR, DETECTOR, Need.NOTHING),
        ({"informativeness": True}, Need.NOTHING, CLASSIFIER, Need.POSTERIOR),
        ({"gallery": 3}, Need.POSTERIOR, DETECTOR, Need.BOXES),
        ({"gallery": 3}, Need.POSTERIOR, CLASSIFIER, Need.NOTHING),
        ({"gallery": 3}, Need.NOTHING, DETECTOR, Need.NOTHING),  # no inference pass for pictures alone
        ({"gallery": 3}, Need.CLASS_COUNTS, DETECTOR, Need.NOTHING),
        ({"gallery": 3, "informativeness": True}, Need.NOTHING, DETECTOR, Need.BOXES | Need.POSTERIOR),
        ({"embedding": 9}, Need.NOTHING, DETECTOR, Need.IMAGE_FEATURES),
    ],
)
def test_needs(options, others, module, expected) -> None:
    assert recording(**options)[0].needs(others, module) == expected


def test_an_embedding_is_made_of_image_features() -> None:
    with pytest.raises(ConfigError, match="embedding must be 0: SimpleNamespace provides no image features"):
        recording(embedding=9)[0].needs(Need.POSTERIOR, CLASSIFIER)


def test_counts_and_balance() -> None:
    record, targets = recording()
    of_class = [(targets == label).nonzero().flatten() for label in range(10)]
    pool = Pool.create(len(targets), torch.cat([indices[:2] for indices in of_class]))
    assert record.class_counts(pool).tolist() == [2] * 10 and record.counts(pool, None) == {"num_labeled": 20}
    later = pool.reveal(of_class[7][2:6])
    assert record.class_counts(later).tolist() == [2] * 7 + [6, 2, 2]
    counts = {"class_counts_added": [2] * 10, "class_counts": [2] * 10}
    assert record.balance(pool, 0) == counts | {"l1_score": 0.0, "l1_score_labeled": 0.0}
    # thesis ch. 4: |4 - 0.4| + 9 * 0.4 of at most 2 * 4 * 9 / 10; then |6 - 2.4| + 9 * 0.4 of at most 2 * 24 * 9 / 10
    found = record.balance(later, 1)
    assert found.pop("class_counts_added") == [0] * 7 + [4, 0, 0]
    assert found.pop("class_counts") == [2] * 7 + [6, 2, 2]
    assert found == pytest.approx({"l1_score": 1.0, "l1_score_labeled": 7.2 / 43.2})


def test_pseudo_labels_are_counted_where_they_are_on() -> None:
    record, targets = recording(pseudo_labels=object())
    pool = Pool.create(len(targets), torch.arange(5))
    assert record.counts(pool, None) == {"num_labeled": 5, "num_pseudo_images": 0}
    labels = targets[5:9].clone()
    labels[0] = (labels[0] + 1) % 10
    pseudo = ImagePseudoLabels(torch.arange(5, 9), labels, torch.zeros(4))
    assert record.counts(pool, pseudo) == {"num_labeled": 5, "num_pseudo_images": 4, "share_pseudo_right": 0.75}
