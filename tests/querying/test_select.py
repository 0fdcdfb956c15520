import re

import numpy as np
import pytest
import torch
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.version import VersionBase

import alpl
from alpl.acquisition import ClassBalanced, Context, Entropy, KCenter
from alpl.config.compose import CONF
from alpl.errors import ConfigError
from alpl.pool import Pool
from alpl.predictions import Form, Posterior, Predictions
from alpl.querying import acquisition_of

N, C = 12, 3
LABELED = [7, 0]
UNLABELED = [row for row in range(N) if row not in LABELED]


def _probabilities(*shape, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(shape[-1]), shape[:-1]).astype(np.float32)


def _features(seed=1, width=4):
    return np.random.default_rng(seed).normal(size=(N, width)).astype(np.float32)


def _ragged(seed=2):
    """Detections of N images, none on some, in no order."""
    random = np.random.default_rng(seed)
    row = random.permutation(np.repeat(np.arange(N), np.arange(N) % 4))
    return {"row": row, "posterior": _probabilities(len(row), C + 1, seed=seed), "scores": random.random(len(row))}


def test_the_most_uncertain_by_hand():
    posterior = [[0.5, 0.5], [0.9, 0.1], [0.6, 0.4], [0.5, 0.5]]
    query = alpl.select("entropy", 2, posterior=posterior, labeled=[0])
    assert query.index.tolist() == [3, 2]
    assert query.utility.tolist() == pytest.approx([np.log(2), -0.6 * np.log(0.6) - 0.4 * np.log(0.4)])


def test_the_farthest_by_hand():
    assert alpl.select("kcenter", 2, features=[[0.0], [1.0], [5.0]], labeled=[0]).index.tolist() == [2, 1]


def test_numpy_torch_and_lists_give_the_picks_of_the_class_itself():
    features, posterior = _features(), _probabilities(N, C)
    pool = Pool.create(N, torch.tensor(LABELED))

    def observed(index):
        return Predictions(
            index,
            torch.arange(len(index)),
            Posterior(torch.from_numpy(posterior)[index]),
            image_features=torch.from_numpy(features)[index],
        )

    context = Context(pool, 4, 5, unlabeled=observed(pool.unlabeled), labeled=observed(pool.labeled))
    for name in ("kcenter", "badge", "cdal", "noris", "dbal", "margin", "random"):
        acquisition = acquisition_of(name)
        expected = acquisition.select(context)
        for kind in (np.asarray, torch.tensor, np.ndarray.tolist):
            given = {"features": kind(features), "posterior": kind(posterior), "labeled": kind(np.array(LABELED))}
            found = alpl.select(acquisition, 4, seed=5, **given)
            assert torch.equal(found.index, expected.index), name
            assert torch.allclose(found.utility, expected.utility, rtol=1e-6), name  # lists are of float64


def test_read_only_arrays_are_left_as_they_are():
    features = _features()
    features.flags.writeable = False
    before = features.copy()
    alpl.select("kcenter", 3, features=features)
    assert np.array_equal(features, before)


def test_reversed_arrays_are_read():
    backwards = _features()[::-1]
    expected = alpl.select("kcenter", 3, features=backwards.copy(), labeled=LABELED)
    assert torch.equal(alpl.select("kcenter", 3, features=backwards, labeled=LABELED).index, expected.index)


def test_within_a_program_of_hydra():
    with initialize_config_dir(str(CONF), job_name="theirs", version_base="1.2"):
        theirs = GlobalHydra.instance().hydra
        assert len(alpl.select("kcenter", 3, features=_features()).index) == 3
        assert GlobalHydra.instance().hydra is theirs and str(VersionBase.instance().getbase()) == "1.2"


def test_ragged_detections_in_any_order_are_reduced_by_image():
    ragged = _ragged()
    query = alpl.select("entropy_sum", 3, num_images=N, form="background", labeled=LABELED, **ragged)
    entropy = -(ragged["posterior"] * np.log(ragged["posterior"])).sum(1)
    sums = np.bincount(ragged["row"], entropy * (ragged["scores"] >= 0.05), minlength=N)
    expected = [row for row in np.argsort(-sums) if row not in LABELED][:3]
    assert query.index.tolist() == expected
    assert query.utility.tolist() == pytest.approx(sums[expected], rel=1e-5)


def test_views_run_over_images_in_their_second_axis():
    views = np.stack([_probabilities(N, C, seed=seed) for seed in range(4)])
    query = alpl.select("bald", 3, views=views, labeled=LABELED)
    mean = views.mean(0)
    gain = -(mean * np.log(mean)).sum(1) + (views * np.log(views)).sum(2).mean(0)
    assert query.index.tolist() == [row for row in np.argsort(-gain) if row not in LABELED][:3]


def test_history_runs_over_images_in_its_second_axis():
    history = np.zeros((6, N), dtype=int)
    history[:, 3], history[:, 0] = [0, 1, 2, 0, 1, 2], [0, 1, 2, 0, 1, 2]
    assert alpl.select("dispersion", 1, history=history, labeled=LABELED).index.tolist() == [3]


def test_labels_are_of_the_labeled_images_in_the_order_given():
    # all labeled are of class 2, so a strong balance asks for 0 and 1; without labels it cannot be told
    posterior = np.full((N, C), 0.05, dtype=np.float32)
    posterior[np.arange(N), np.arange(N) % C] = 0.9
    balanced = ClassBalanced(Entropy(), weight=100.0)
    query = alpl.select(balanced, 2, posterior=posterior, labeled=[8, 5], labels=[2, 2])
    assert sorted(row % C for row in query.index.tolist()) == [0, 1]
    with pytest.raises(ConfigError, match=re.escape("ClassBalanced needs labels [L], which is not given")):
        alpl.select(balanced, 2, posterior=posterior, labeled=[8, 5])


def test_excluded_images_take_no_part_and_shares_are_of_the_rest():
    query = alpl.select("random", "50%", features=_features(), labeled=LABELED, excluded=[1, 2])
    assert len(query.index) == 5 and not {0, 1, 2, 7} & set(query.index.tolist())


def test_same_seed_same_picks_and_nobody_elses_draws():
    torch.manual_seed(3)
    state = torch.get_rng_state()
    picks = [alpl.select("random", 6, features=_features(), seed=seed).index.tolist() for seed in (0, 0, 1)]
    assert picks[0] == picks[1] != picks[2]
    assert torch.equal(torch.get_rng_state(), state)


def test_all_that_is_unlabeled_can_be_chosen_and_an_empty_pool_gives_nothing_to_choose():
    assert sorted(alpl.select("kcenter", 10, features=_features(), labeled=LABELED).index.tolist()) == UNLABELED
    with pytest.raises(ConfigError, match="budget must be at most the 0 unlabeled images, got 1"):
        alpl.select("kcenter", 1, features=_features(), labeled=range(N))


def test_an_acquisition_of_ones_own_by_name_and_settings():
    query = alpl.select(acquisition_of("kcenter", ["metric=cosine"]), 3, features=_features(), labeled=LABELED)
    assert torch.equal(query.index, alpl.select(KCenter("cosine"), 3, features=_features(), labeled=LABELED).index)
    assert isinstance(acquisition_of("alpl.acquisition.KCenter"), KCenter)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"acquisition": "entropie"}, "acquisition must name a config or a class, got 'entropie'; did you mean"),
        ({"acquisition": 3}, "acquisition must be a name or an AbstractAcquisition, got int"),
        ({"acquisition": "oracle"}, "Oracle looks at the true answers"),
        ({"acquisition": "kcenter"}, "KCenter needs features [N F], which is not given"),
        ({"budget": 11}, "budget must be at most the 10 unlabeled images, got 11"),
        ({"budget": 0}, "budget must come to 1 to 12 images, got 0"),
        ({"posterior": [0.5, 0.5]}, "posterior must be Float[I C], got shape [2]"),
        ({"posterior": [["a"]]}, "posterior must be an array of numbers, got <U1"),
        ({"posteriors": [[1.0]]}, "unknown argument 'posteriors'; did you mean 'posterior'?"),
        ({"features": [[1.0]]}, "all arrays must be of the same images, got posterior 12, features 1"),
        ({"boxes": np.zeros((N, 5))}, "boxes must be Float[I 4], got shape [12, 5]"),
        ({"labeled": [0.5]}, "labeled must be Long[L], got torch.float64"),
        ({"labeled": [12]}, "labeled must lie in [0, 12), got [12]"),
        ({"labeled": [1, 1]}, "labeled must not repeat an image"),
        ({"labels": [1]}, "labels must be one for each of the 2 labeled images, got 1"),
        ({"form": "relu"}, "form must be one of softmax, background, sigmoid, got 'relu'"),
        ({"row": np.arange(N)}, "num_images must be given where no array has one row an image, got None"),
        ({"row": np.arange(N), "num_images": 11}, "row must lie in [0, 11), got 0 to 11"),
        ({"row": np.arange(3), "num_images": 3}, "all arrays must be of the same instances, got row 3, posterior 12"),
        ({"posterior": np.ones((N, C))}, "posterior must sum to 1 over 3 outputs"),
    ],
)
def test_what_cannot_be_is_refused_by_name(change, message):
    given = {"acquisition": "entropy", "budget": 2, "posterior": _probabilities(N, C), "labeled": LABELED}
    with pytest.raises(ValueError, match=re.escape(message)):
        alpl.select(**(given | change))


def test_the_form_is_read():
    outputs = np.array([[0.9, 0.05, 0.05], [0.1, 0.5, 0.4]], dtype=np.float32)
    least = alpl.select("least_confidence", 1, posterior=outputs, form=Form.BACKGROUND.value)
    assert least.index.tolist() == [0] and alpl.select("least_confidence", 1, posterior=outputs).index.tolist() == [1]


def test_nothing_else_is_made_up_for_the_package():
    with pytest.raises(ImportError, match="cannot import name 'selekt' from 'alpl'"):
        from alpl import selekt  # noqa: F401
