"""The four uncertainties of mixture heads, joined to one value an image (Choi et al. 2021, AL-MDN, sec. 3.3).

Axes: U unlabeled images, I instances of all of them, J instances that count, T types of uncertainty.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, final

import torch
from torch import Tensor

from alpl.acquisition.base import AbstractAcquisition, Context, Query, choose_highest
from alpl.acquisition.object_ranking import check_score_thresh, confident
from alpl.errors import ConfigError
from alpl.predictions import UNCERTAINTIES, Need
from alpl.predictions.reduce import Reduction, check_reduction, reduce_instances


@final
class MixtureUncertainty(AbstractAcquisition):
    r"""Images with uncertain objects, by the aleatoric and epistemic uncertainty of their classes and boxes.

    .. math::
        \tilde u_t^{ij} = \frac{u_t^{ij} - \mu_t}{\sigma_t}, \qquad
        u_t^i = \max_j \tilde u_t^{ij}, \qquad
        u^i = \max_t u_t^i

    for the types t, over the objects j of the image i whose score reaches ``score_thresh``; :math:`\mu_t` and
    :math:`\sigma_t` are mean and population standard deviation over all such objects of all unlabeled images. Where
    all objects are equal in a type (one object is), its :math:`\tilde u_t` is 0.

    The text says nothing about images without such an object. As in the released code they come last: their utility is
    1 below the lowest other one, and 0 where no image has an object.

    Args:
        types: of :data:`alpl.predictions.UNCERTAINTIES`; the text's :math:`u_{al_c}` is ``class_aleatoric``.
        join: of an image's types: ``max`` or ``sum`` (Table 2). One type needs no joining.
        reduction: of an image's objects, type by type: ``max``, or ``mean`` or ``sum`` (the text found the mean worse).
        score_thresh: the least score of an object that counts; the text does not say, the released code has 0.5.

    Raises:
        ConfigError: a type is unknown or named twice, or another value is unknown or out of range.
    """

    needs = Need.UNCERTAINTIES

    def __init__(
        self,
        types: Sequence[str] = UNCERTAINTIES,
        join: Literal["max", "sum"] = "max",
        reduction: Reduction = "max",
        score_thresh: float = 0.5,
    ) -> None:
        if not types or len(set(types)) < len(types) or set(types) - set(UNCERTAINTIES):
            raise ConfigError(f"types must be different ones of {', '.join(UNCERTAINTIES)}, got {list(types)}")
        if join not in ("max", "sum"):
            raise ConfigError(f"join must be max or sum, got {join!r}")
        try:
            check_reduction(reduction)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        self.types = tuple(types)
        self.join, self.reduction = join, reduction
        self.score_thresh = check_score_thresh(score_thresh)

    def select(self, context: Context) -> Query:
        """Choose the images of highest utility; an object's own is what its normalized types are joined to.

        Raises:
            ValueError: the model gives no wanted type, or one that is not finite; or see
                :func:`alpl.acquisition.base.choose_highest`.
        """
        predictions = context.predictions
        chosen = confident(predictions, self.score_thresh)
        normalized = z_scores(self._wanted(predictions.uncertainties, chosen))
        row = predictions.row[chosen]
        of_types = [reduce_instances(one, row, predictions.num_images, self.reduction, 0.0) for one in normalized.T]
        utility = last_if_empty(self._joined(torch.stack(of_types, -1)), row)
        of_objects = utility.new_full((len(predictions.row),), torch.nan)
        of_objects[chosen] = self._joined(normalized)
        return choose_highest(type(self).__name__, utility, context, of_objects.cpu())

    def _wanted(self, uncertainties: Tensor | None, chosen: Tensor) -> Tensor:
        """``Float64[J T]``: the wanted types of the objects that count."""
        assert uncertainties is not None, "Need.UNCERTAINTIES was declared"
        wanted = uncertainties[chosen][:, [UNCERTAINTIES.index(name) for name in self.types]].double()
        for name, column in zip(self.types, wanted.T, strict=True):
            if column.isnan().any():
                raise ValueError(f"predictions must have {name}, got NaN: the model's head does not give it")
            if not column.isfinite().all():
                raise ValueError(f"{name} must be finite, got {int((~column.isfinite()).sum())} infinite values")
        return wanted

    def _joined(self, of_types: Tensor) -> Tensor:
        """``[... T]`` -> ``[...]``."""
        return of_types.amax(-1) if self.join == "max" else of_types.sum(-1)


def z_scores(values: Tensor) -> Tensor:
    """Less the mean and over the population standard deviation of each column; 0 where a column's values are equal.

    Args:
        values: ``Float[J T]``, finite.

    Returns:
        ``Float[J T]``.

    >>> z_scores(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
    tensor([[-1.,  0.],
            [ 1.,  0.]])
    """
    if not len(values):
        return values
    # equal values must not become what rounding leaves of them, over next to nothing
    equal = values.amin(0) == values.amax(0)
    normalized = (values - values.mean(0)) / values.std(0, correction=0).where(~equal, 1.0)
    return normalized.where(~equal, 0.0)


def last_if_empty(utility: Tensor, row: Tensor) -> Tensor:
    """Put the images that no object belongs to behind all others.

    Args:
        utility: ``Float[U]``.
        row: ``Long[J]`` the image of each object that counts.

    Returns:
        ``Float[U]``: at the images without an object 1 below the lowest other one, or 0 where no image has one.

    >>> last_if_empty(torch.tensor([0.0, 2.0, -3.0]), torch.tensor([1, 2]))
    tensor([-4.,  2., -3.])
    """
    has_object = torch.zeros_like(utility, dtype=torch.bool)
    has_object[row] = True
    lowest = utility[has_object].amin() - 1 if has_object.any() else utility.new_zeros(())
    return utility.where(has_object, lowest)
