"""What a trained model says about images, how it is kept, and what is computed from it."""

from alpl.predictions.fields import FIELDS, FROM_MODULE, FROM_PARTNER, Field
from alpl.predictions.needs import UNCERTAINTIES, Need
from alpl.predictions.posterior import Form, Posterior
from alpl.predictions.predictions import Predictions

__all__ = [
    "FIELDS",
    "FROM_MODULE",
    "FROM_PARTNER",
    "UNCERTAINTIES",
    "Field",
    "Form",
    "Need",
    "Posterior",
    "Predictions",
]
