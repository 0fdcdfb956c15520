"""LightningModules: one a kind of model, and partners that are trained beside one."""

from alpl.modules.base import AbstractModule, AbstractTrainableModule
from alpl.modules.detector import AbstractDetector, AbstractTrainableDetector, Suppression
from alpl.modules.partner import AbstractPartner, Partner
from alpl.modules.supervised import AbstractSupervisedDetector

__all__ = [
    "AbstractDetector",
    "AbstractModule",
    "AbstractPartner",
    "AbstractSupervisedDetector",
    "AbstractTrainableDetector",
    "AbstractTrainableModule",
    "Partner",
    "Suppression",
]
