"""What a trained model says about images, how it is kept, and what is computed from it."""

from alpl.predictions.predictions import FROM_MODULE, UNCERTAINTIES, Form, Need, Posterior, Predictions

__all__ = ["FROM_MODULE", "UNCERTAINTIES", "Form", "Need", "Posterior", "Predictions"]
