"""Who learns in a cycle: which models are fitted, on what, and who of them is tested and asked."""

from alpl.learning.learner import AbstractLearner, Fit, Label, Members
from alpl.learning.teacher_student import TeacherStudent

__all__ = ["AbstractLearner", "Fit", "Label", "Members", "TeacherStudent"]
