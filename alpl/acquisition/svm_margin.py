"""SVM min margin: the images closest to a decision boundary (Tong and Koller 2001; thesis sec. 5.4)."""

from __future__ import annotations

from typing import Literal, TypeAlias, final, get_args

from torch import Tensor

from alpl.acquisition.base import AbstractRanking, Context
from alpl.errors import ConfigError
from alpl.predictions import Need

Boundary: TypeAlias = Literal["closest", "top_two"]


@final
class SvmMargin(AbstractRanking):
    r"""The smallest margin, of decision values f of K machines, each of a class against the rest.

    Args:
        of: "closest": of the machine whose boundary is nearest, :math:`-\min_c |f_c|` ("closest to the decision
            boundary"); "top_two": between the two classes that say most, :math:`-(f_{(1)} - f_{(2)})`.

    Raises:
        ConfigError: ``of`` is neither.
    """

    needs = Need.LOGITS

    def __init__(self, of: Boundary = "closest") -> None:
        if of not in get_args(Boundary):
            raise ConfigError(f"acquisition.of must be one of {', '.join(get_args(Boundary))}, got {of!r}")
        self.of: Boundary = of

    def utility(self, context: Context) -> Tensor:
        """``Float[U]`` <= 0."""
        values = context.predictions.logits
        assert values is not None, "Need.LOGITS was declared"
        if self.of == "closest":
            return -values.abs().amin(1)
        first, second = values.topk(2, dim=1).values.unbind(1)
        return second - first
