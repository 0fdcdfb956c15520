"""Studies of finished runs: what a trained model can be asked after its run, written below the run's folder.

One study is one file of :mod:`alpl.studies.study`; ``alpl-study`` runs it by the file's name.
"""

from alpl.studies.asking import ask
from alpl.studies.base import AbstractStudy, Answers, Look
from alpl.studies.found import study_names, study_of

__all__ = ["AbstractStudy", "Answers", "Look", "ask", "study_names", "study_of"]
