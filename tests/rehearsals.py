"""Rehearsals with predictions as a model with these outputs would give them."""

import torch

from alpl.acquisition import AbstractAcquisition
from alpl.predictions import FROM_MODULE, UNCERTAINTIES, Form, Need, Posterior, Predictions
from alpl.preflight.rehearsal import rehearse as rehearse_on


def rehearse(acquisition: AbstractAcquisition, provided: Need, num_classes: int) -> None:
    """Rehearse with what a model provides; with boxes, as of a detector whose output 0 is the background."""
    needs, is_detection = acquisition.needs & FROM_MODULE, Need.BOXES in provided
    shown = shown_by(needs, num_classes, is_detection=is_detection) if needs else None
    rehearse_on(acquisition, shown, num_classes, is_detection=is_detection)


def shown_by(needs: Need, num_classes: int, *, is_detection: bool, width: int = 60) -> Predictions:
    """What the module shows: two images, and of a detector three instances."""
    row = torch.tensor([0, 0, 1] if is_detection else [0, 1])
    form = Form.BACKGROUND if is_detection else Form.SOFTMAX
    views = Posterior(torch.full((2 if Need.FLIP in needs else 3, len(row), num_classes + is_detection), 0.1), form)
    return Predictions(
        index=torch.arange(2),
        row=row,
        posterior=views[0] if Need.POSTERIOR in needs else None,
        labels=torch.zeros_like(row),
        scores=torch.ones(len(row)),
        boxes=torch.zeros(len(row), 4) if Need.BOXES in needs else None,
        features=torch.zeros(len(row), width) if Need.FEATURES in needs else None,
        image_features=torch.zeros(2, width) if Need.IMAGE_FEATURES in needs else None,
        views=views if needs & (Need.VIEWS | Need.FLIP | Need.AUGMENTED) else None,
        view_ious=torch.zeros(len(row), 2) if Need.AUGMENTED in needs else None,
        view_scores=torch.zeros(2, 2, num_classes) if Need.AUGMENTED in needs else None,
        logits=torch.zeros(len(row), num_classes) if Need.LOGITS in needs else None,
        predicted_loss=torch.zeros(2) if Need.PREDICTED_LOSS in needs else None,
        uncertainties=torch.zeros(len(row), len(UNCERTAINTIES)) if Need.UNCERTAINTIES in needs else None,
    )
