"""Made-up predictions for tests: every field drawn, all values different."""

import torch

from alpl.predictions import Form, Posterior, Predictions

NUM_CLASSES, NUM_VIEWS, WIDTH = 3, 2, 4
OPTIONAL = (
    "posterior", "labels", "scores", "boxes", "features", "image_features", "views", "uncertainties", "view_ious",
    "view_scores",
)  # fmt: skip


def make_predictions(counts, fields=OPTIONAL, form=Form.BACKGROUND, seed=0):
    """Make predictions with ``counts[n]`` instances of image n, all values different."""
    random = torch.Generator().manual_seed(seed)
    num_images, num_instances = len(counts), sum(counts)

    def draw(*shape):
        return torch.rand(*shape, generator=random)

    values = {
        "posterior": Posterior(draw(num_instances, NUM_CLASSES), form),
        "labels": torch.randperm(10_000, generator=random)[:num_instances],
        "scores": draw(num_instances),
        "boxes": draw(num_instances, 4),
        "features": draw(num_instances, WIDTH),
        "image_features": draw(num_images, WIDTH),
        "views": Posterior(draw(NUM_VIEWS, num_instances, NUM_CLASSES), form),
        "uncertainties": draw(num_instances, 4),
        "view_ious": draw(num_instances, NUM_VIEWS - 1),
        "view_scores": draw(num_images, NUM_VIEWS - 1, NUM_CLASSES),
    }
    return Predictions(
        index=torch.randperm(10_000, generator=random)[:num_images],
        row=torch.repeat_interleave(torch.arange(num_images), torch.tensor(counts, dtype=torch.long)),
        **{name: value for name, value in values.items() if name in fields},
    )


def tensors_of(predictions):
    """Name every field's tensor and form."""
    found = {}
    for name in ("index", "row", *OPTIONAL):
        value = getattr(predictions, name)
        if value is not None:
            found[name] = (value.probs, value.form) if isinstance(value, Posterior) else (value, None)
    return found
