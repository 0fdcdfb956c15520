"""PPAL's rows and figures: what is composed for each, and that their parts say what the text says."""

import pytest
from configs import checked
from hydra.utils import instantiate
from omegaconf import OmegaConf

from alpl.acquisition import Then

TABLE1 = ["experiment=ppal/table1", "scale=smoke_retinanet"]


def row(method, *overrides):
    """The config of a row, and its acquisition as it is made."""
    config = checked(*TABLE1, f"method={method}", *overrides)
    return config, instantiate(config.acquisition, _convert_="all")


def names(stage):
    """The classes that a stage is made of, the ranking's measure among them."""
    parts = [
        stage,
        getattr(stage, "ranking", None),
        getattr(stage, "weights", None),
        getattr(stage, "similarity", None),
    ]
    return [type(part).__name__ for part in parts if part is not None]


DCUS, ENTROPY = ["ClassWeighted", "DetectionUncertainty", "DifficultyWeights"], ["DetectionUncertainty"]
ROWS = {
    "random_then_ccms": (["RandomSampling"], ["Medoids", "Ccms"]),
    "entropy_then_ccms": (ENTROPY, ["Medoids", "Ccms"]),
    "frequency_then_ccms": ([*DCUS[:2], "FrequencyWeights"], ["Medoids", "Ccms"]),
    "dcus_then_random": (DCUS, ["RandomSampling"]),
    "dcus_then_global": (DCUS, ["Medoids", "GlobalSimilarity"]),
    "dcus_then_jaccard": (DCUS, ["Medoids", "JaccardSimilarity"]),
    "dcus_then_kl": (DCUS, ["Medoids", "KlMatching"]),
    "dcus_then_ccms": (DCUS, ["Medoids", "Ccms"]),
}


@pytest.mark.sample(3)
@pytest.mark.parametrize("method", list(ROWS)[::-1])
def test_stages_of_each_row(method) -> None:
    _, acquisition = row(method)
    assert isinstance(acquisition, Then) and (acquisition.ratio, acquisition.rounding) == (4.0, "up")
    assert (names(acquisition.first), names(acquisition.second)) == ROWS[method]


def test_the_pyramids_maps_are_counted_by_the_models_own_anchors() -> None:
    """Five of RetinaNet, four of the one of the trial."""
    config, acquisition = row("dcus_then_fpn")
    assert config.model.image_feature_source == "pyramid" and acquisition.image_layers == {4}
    whole = checked("experiment=ppal/table1", "method=dcus_then_fpn").acquisition
    assert len(whole.second.similarity.num_layers) == 5


def test_the_released_row_differs_where_the_code_does() -> None:
    config, released = row("ppal_as_released")
    written, _ = row("dcus_then_ccms")
    assert (config.model.feature_source, config.model.feature_sample) == ("class_tower", "as_released")
    assert config.model.selection.nms_thresh == config.model.evaluation.nms_thresh == 0.45  # of the trial's model
    assert (config.model.selection.max_detections, config.callbacks.class_difficulty.absent) == (100, "as_released")
    assert released.first.ranking.filters and released.rounding == "as_released"
    similarity = released.second.similarity
    assert (similarity.empty, similarity.same_rank, similarity.epsilon) == ("similar", True, 1e-5)
    assert written.callbacks.class_difficulty.absent == "as_written" and "selection" not in written.model
    assert released.first.weights == instantiate(written.acquisition.first.weights)


@pytest.mark.parametrize(
    ("method", "measure", "of"),
    [("dcus_posterior_then_ccms", "posterior", "class"), ("dcus_margin_then_ccms", "margin", "posterior")],
)
def test_other_measures_of_table_3(method, measure, of) -> None:
    ranking = row(method)[0].acquisition.first.ranking
    assert (ranking.measure, ranking.of, ranking.reduction, ranking.score_thresh) == (measure, of, "sum", 0.05)


def test_protocol_of_coco() -> None:
    config = checked("experiment=ppal/figure4a", "method=dcus_then_ccms")
    assert (config.schedule.initial.size, config.schedule.budget, config.schedule.cycles) == (2365, 2365, 4)
    assert (config.model.optimizer.lr, config.data.batch_size, config.trainer.max_epochs) == (0.01, 8, 26)


def test_any_acquisition_can_be_a_stage() -> None:
    """Without a file of its own."""
    config = checked(
        "scale=smoke_retinanet", "acquisition=dcus_then_ccms",
        "acquisition@acquisition.first=flip_inconsistency", "acquisition/similarity@acquisition.second.similarity=kl",
    )  # fmt: skip
    made = instantiate(config.acquisition, _convert_="all")
    assert (names(made.first)[0], names(made.second)) == ("FlipInconsistency", ["Medoids", "KlMatching"])
    assert OmegaConf.select(config, "acquisition.ratio") == 4.0
