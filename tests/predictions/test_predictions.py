import dataclasses
import json
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_predictions import NUM_VIEWS, OPTIONAL, WIDTH, make_predictions, tensors_of

from alpl.machine.files import write_text
from alpl.predictions import FROM_MODULE, Form, Need, Posterior, Predictions


class Payload:
    """Unpickling this writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (write_text, (self.path, "ran"))


def _by_image(predictions):
    """Unpack into plain lists: (dataset index, what is one an image, its instances in order) of each image."""
    tensors = {name: tensor for name, (tensor, _) in tensors_of(predictions).items()}
    images = []
    for n in range(len(tensors["index"])):
        instances = []
        for i in range(len(tensors["row"])):
            if int(tensors["row"][i]) != n:
                continue
            of_instances = set(tensors) - {"index", "row", "image_features", "views", "view_scores"}
            own = {name: tensors[name][i].tolist() for name in of_instances}
            if "views" in tensors:
                own["views"] = [tensors["views"][v][i].tolist() for v in range(NUM_VIEWS)]
            instances.append(own)
        own_image = [tensors[name][n].tolist() for name in ("image_features", "view_scores") if name in tensors]
        images.append((int(tensors["index"][n]), own_image, instances))
    return images


def _assert_same(a, b):
    left, right = tensors_of(a), tensors_of(b)
    assert left.keys() == right.keys()
    for name, (tensor, form) in left.items():
        assert torch.equal(tensor, right[name][0]) and tensor.dtype == right[name][0].dtype, name
        assert form == right[name][1], name


COUNTS = st.lists(st.integers(0, 3), min_size=1, max_size=6)
FIELDS = st.sets(st.sampled_from(OPTIONAL))


# --- ragged instances


@given(st.lists(COUNTS, min_size=1, max_size=4), FIELDS, st.sampled_from(Form))
def test_concat_is_the_lists_one_after_the_other(batches, fields, form):
    parts = [make_predictions(counts, fields, form, seed) for seed, counts in enumerate(batches)]
    joined = Predictions.concat(parts)
    assert _by_image(joined) == [image for part in parts for image in _by_image(part)]
    assert (joined.row.diff() >= 0).all() and joined.row.dtype == torch.long
    assert {name: form for name, (_, form) in tensors_of(joined).items()} == {
        name: form for name, (_, form) in tensors_of(parts[0]).items()
    }


@given(COUNTS, FIELDS, st.data())
def test_take_is_the_lists_entries_in_the_order_asked_for(counts, fields, data):
    whole = make_predictions(counts, fields)
    images = data.draw(st.lists(st.integers(0, len(counts) - 1), unique=True))
    part = whole.take(torch.tensor(images, dtype=torch.long))
    assert _by_image(part) == [_by_image(whole)[image] for image in images]
    assert (part.row.diff() >= 0).all()
    assert part.num_images == len(images)
    if part.views is not None:
        assert part.views.form is Form.BACKGROUND and part.views.probs.shape[0] == NUM_VIEWS


def test_take_by_hand():
    whole = Predictions(torch.tensor([8, 3, 5]), torch.tensor([0, 0, 2]), labels=torch.tensor([10, 11, 12]))
    part = whole.take(torch.tensor([2, 1, 0]))
    assert (part.index.tolist(), part.row.tolist(), part.labels.tolist()) == ([5, 3, 8], [0, 2, 2], [12, 10, 11])


def test_take_refuses_an_image_twice():
    with pytest.raises(ValueError, match="images must be different positions"):
        make_predictions([1, 2]).take(torch.tensor([1, 1]))


def test_concat_refuses_parts_that_differ():
    with pytest.raises(ValueError, match="parts must hold at least one Predictions, got none"):
        Predictions.concat([])
    for parts in (
        [make_predictions([1], ["labels"]), make_predictions([1], [])],
        [make_predictions([1], []), make_predictions([1], ["labels"])],
    ):
        with pytest.raises(ValueError, match=r"parts must have the same fields, got .*'labels'"):
            Predictions.concat(parts)
    forms = [make_predictions([1], ["views"], form) for form in (Form.SOFTMAX, Form.SIGMOID)]
    with pytest.raises(ValueError, match=r"parts must have the same fields, got .*'softmax'.* and .*'sigmoid'"):
        Predictions.concat(forms)


def test_to_moves_every_field():
    moved = make_predictions([2, 0, 1]).to("meta")
    assert all(tensor.device.type == "meta" for tensor, _ in tensors_of(moved).values())
    assert {name: form for name, (_, form) in tensors_of(moved).items() if form} == {
        "posterior": Form.BACKGROUND,
        "views": Form.BACKGROUND,
    }
    assert moved.features.shape == (3, WIDTH)


# --- files


@given(COUNTS, FIELDS, st.sampled_from(Form))
def test_saved_predictions_come_back(tmp_path_factory, counts, fields, form):
    folder = tmp_path_factory.mktemp("predictions") / "unlabeled"
    predictions = make_predictions(counts, fields, form)
    predictions.save(folder)
    _assert_same(Predictions.load(folder), predictions)
    assert {path.name for path in folder.iterdir()} == {
        "fields.json",
        *(f"{name}.npy" for name in tensors_of(predictions)),
    }


# Predictions are only read; torch cannot know that and warns of a read-only map.
@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
def test_a_memory_mapped_load_gives_the_same(tmp_path):
    predictions = make_predictions([2, 0, 3])
    predictions.save(tmp_path / "p")
    _assert_same(Predictions.load(tmp_path / "p", memory_map=True), predictions)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_number_types_are_kept(tmp_path, dtype):
    predictions = Predictions(torch.tensor([0]), torch.tensor([0]), scores=torch.tensor([1 / 3], dtype=dtype))
    predictions.save(tmp_path / "p")
    _assert_same(Predictions.load(tmp_path / "p"), predictions)


def test_saving_again_leaves_no_field_of_before(tmp_path):
    make_predictions([1, 1]).save(tmp_path / "p")
    make_predictions([2], ["labels"]).save(tmp_path / "p")
    assert {path.name for path in (tmp_path / "p").iterdir()} == {"fields.json", "index.npy", "row.npy", "labels.npy"}
    assert json.loads((tmp_path / "p" / "fields.json").read_text()) == {"index": None, "row": None, "labels": None}


@pytest.mark.parametrize("memory_map", [False, True])
def test_loading_runs_no_code(tmp_path, memory_map):
    folder = tmp_path / "p"
    make_predictions([1, 1]).save(folder)
    np.save(folder / "scores.npy", np.array([Payload(tmp_path / "proof")], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"[Oo]bject"):
        Predictions.load(folder, memory_map=memory_map)
    assert not (tmp_path / "proof").exists()
    np.load(folder / "scores.npy", allow_pickle=True)  # the payload is live: only the loader stood in its way
    assert (tmp_path / "proof").exists()


# --- how posteriors are read


def test_the_foreground_leaves_out_the_background():
    probs = torch.tensor([[[0.7, 0.2, 0.1]], [[0.1, 0.3, 0.6]]])  # [V I C]
    assert torch.equal(Posterior(probs, Form.BACKGROUND).foreground, probs[..., 1:])
    for form in (Form.SOFTMAX, Form.SIGMOID):
        assert torch.equal(Posterior(probs, form).foreground, probs)


def test_indexing_keeps_the_form():
    views = Posterior(torch.rand(2, 5, 3), Form.SIGMOID)
    assert views[1].form is Form.SIGMOID and torch.equal(views[1].probs, views.probs[1])
    posterior = Posterior(torch.rand(5, 3), Form.BACKGROUND)
    chosen = torch.tensor([4, 0])
    assert posterior[chosen].form is Form.BACKGROUND and torch.equal(posterior[chosen].probs, posterior.probs[chosen])


# --- needs


@pytest.mark.parametrize(
    ("need", "names"),
    [
        (Need.NOTHING, "NOTHING"),
        (Need.VIEWS, "VIEWS"),
        (Need.LABELED | Need.IMAGE_FEATURES, "IMAGE_FEATURES, LABELED"),
        (
            FROM_MODULE,
            "POSTERIOR, LOGITS, IMAGE_FEATURES, FEATURES, BOXES, VIEWS, FLIP, AUGMENTED, PREDICTED_LOSS, UNCERTAINTIES",
        ),
        (Need.TARGETS | Need.HISTORY | Need.POSTERIOR, "POSTERIOR, HISTORY, TARGETS"),
    ],
)
def test_needs_are_named_in_messages(need, names):
    assert need.names() == names


def test_a_forward_pass_gives_neither_history_nor_answers():
    assert not FROM_MODULE & (Need.HISTORY | Need.LABELED | Need.TARGETS)


def test_an_unknown_form_in_a_file_is_an_error(tmp_path):
    make_predictions([1], ["posterior"]).save(tmp_path / "p")
    text = (tmp_path / "p" / "fields.json").read_text().replace("background", "softmin")
    (tmp_path / "p" / "fields.json").write_text(text)
    with pytest.raises(ValueError, match=re.escape("'softmin' is not a valid Form")):
        Predictions.load(tmp_path / "p")


# --- of images that were asked about


def _ascending(counts):
    made = make_predictions(counts)
    return dataclasses.replace(made, index=torch.arange(len(counts)) * 2)


def test_predictions_of_some_images_are_theirs():
    whole = _ascending([2, 0, 1, 3])
    assert whole.of(torch.tensor([0, 2, 4, 6])) is whole  # nothing is copied, so that it may be memory-mapped
    _assert_same(whole.of(torch.tensor([2, 6])), whole.take(torch.tensor([1, 3])))


@pytest.mark.parametrize("images", [[2, 3], [-1, 2], [6, 8], [8]])
def test_an_image_without_a_prediction_is_named(images):
    missing = sorted(set(images) - {0, 2, 4, 6})
    with pytest.raises(ValueError, match=re.escape(f"those of {len(missing)} are missing, images {missing}")):
        _ascending([1, 1, 1, 1]).of(torch.tensor(images))


@pytest.mark.parametrize("index", [[0, 0, 2], [2, 0, 4]])
def test_predictions_of_images_out_of_order_are_refused(index):
    mixed = dataclasses.replace(make_predictions([1, 1, 1]), index=torch.tensor(index))
    with pytest.raises(ValueError, match="ascending dataset index"):
        mixed.of(torch.tensor([0, 2]))
