"""Two models: a teacher whose certain predictions become labels of a student (thesis sec. 3.5)."""

from __future__ import annotations

from typing import Literal, final

from alpl.acquisition.pseudo_labelers import AbstractPseudoLabeler
from alpl.errors import ConfigError
from alpl.learning.learner import AbstractLearner, Fit, Label, Step

_TEACHER, _STUDENT = 0, 1


@final
class TeacherStudent(AbstractLearner):
    """The teacher learns from what is labeled and labels what it is sure of; the student learns from both.

    The student is tested (``test/...``; the teacher as ``teacher/...``) and asked about the images that have no
    pseudo-label in this cycle. In the next cycle these are unlabeled again.

    Args:
        labeler: of the teacher's predictions or of their history.
        initialize: ``latest``: each fit goes on from whatever was trained last, the student from the teacher, the next
            teacher from the student (the thesis's text); ``own``: from its own weights of the last cycle; ``scratch``:
            from fresh ones. In cycle 0 the teacher, and but for ``latest`` the student, begin from fresh ones.

    Raises:
        ConfigError: ``labeler`` is none, or ``initialize`` is unknown.
    """

    num_models = 2
    asked = (_STUDENT,)

    def __init__(
        self, labeler: AbstractPseudoLabeler, initialize: Literal["latest", "own", "scratch"] = "latest"
    ) -> None:
        if not isinstance(labeler, AbstractPseudoLabeler):
            raise ConfigError(f"learner.labeler must make pseudo-labels, got {type(labeler).__name__}")
        if initialize not in ("latest", "own", "scratch"):
            raise ConfigError(f"learner.initialize must be latest, own or scratch, got {initialize!r}")
        self.labeler, self.initialize = labeler, initialize
        self.tested = {"test": (_STUDENT,), "teacher": (_TEACHER,)}

    def steps(self, cycle: int) -> list[Step]:
        """Teacher, labels, student."""
        return [
            Fit("fit", _TEACHER, self._start(cycle, _TEACHER), watched=True, takes_pseudo=False),
            Label(_TEACHER),
            Fit("fit_student", _STUDENT, self._start(cycle, _STUDENT)),
        ]

    def _start(self, cycle: int, model: int) -> tuple[int, int] | None:
        if self.initialize == "latest" and model == _STUDENT:
            return cycle, _TEACHER
        if self.initialize == "scratch" or cycle == 0:
            return None
        return cycle - 1, _STUDENT if self.initialize == "latest" else model
