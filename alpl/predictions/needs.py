"""What an acquisition may ask for; :mod:`alpl.predictions.fields` says of each who gives it, and where it lies."""

from __future__ import annotations

from enum import Flag, auto


class Need(Flag):
    """What an acquisition asks for and a module or callback provides; nothing else is computed or stored."""

    NOTHING = 0
    POSTERIOR = auto()
    """The posterior of every instance."""
    LOGITS = auto()
    """What the last layer gives, before the softmax."""
    IMAGE_FEATURES = auto()
    """One feature vector an image (penultimate layer)."""
    FEATURES = auto()
    """One feature vector an instance."""
    BOXES = auto()
    """Boxes of the instances."""
    VIEWS = auto()
    """Several posteriors of every instance: dropout passes or ensemble members."""
    FLIP = auto()
    """Two posteriors of every instance, as views: its own, and that of its partner in the mirrored image."""
    AUGMENTED = auto()
    """Posteriors and overlaps of every instance's partners in other views of its image, and the classes seen there."""
    PREDICTED_LOSS = auto()
    """The training loss of each image as a loss prediction module sees it (LLAL)."""
    UNCERTAINTIES = auto()
    """Aleatoric and epistemic uncertainty of class and box of every instance, from a mixture head (AL-MDN)."""
    HISTORY = auto()
    """The predicted label of every unlabeled image after every epoch."""
    DIFFICULTY = auto()
    """How hard each class was at the end of the training."""
    LABELED = auto()
    """The same predictions for the labeled images."""
    CLASS_COUNTS = auto()
    """How much is labeled of each class."""
    TARGETS = auto()
    """The true answers for the unlabeled images. Only for upper bounds such as the oracle acquisition."""
    LABELED_TARGETS = auto()
    """The answers for the labeled images, which are paid for."""
    SIZES = auto()
    """Height and width of every unlabeled image."""
    FOOTAGE = auto()
    """Which image is which frame of which video."""
    MOTION = auto()
    """Where the pixels of a frame are in the next one and in the one before: optical flow."""
    LABELEDNESS = auto()
    """How labeled each unlabeled image looks to a partner that learned to tell both apart (VAAL)."""

    def names(self) -> str:
        """Give the names of the set flags, for messages."""
        return ", ".join(flag.name or "" for flag in Need if flag.value and flag in self) or "NOTHING"


UNCERTAINTIES = ("class_aleatoric", "class_epistemic", "box_aleatoric", "box_epistemic")
"""The columns of :attr:`Predictions.uncertainties`."""
