"""The robust core-set on image features (Sener and Savarese 2018, Algorithm 2), with the labeled images as centers."""

from __future__ import annotations

import logging
from typing import final

from alpl.acquisition.base import AbstractAcquisition, Context, Query
from alpl.errors import ConfigError
from alpl.predictions import Need
from alpl.selection.core_set import EXACT_UP_TO, core_set

log = logging.getLogger(__name__)


@final
class CoreSet(AbstractAcquisition):
    r"""The images that leave all others but a few outliers closest to a labeled or chosen one.

    Radius, bound and gap go to the log. For large pools it is k-center greedy with a bound.

    Args:
        outlier_share: :math:`\Xi` as a part of all images, in [0, 1); the paper has 1e-4, the released code 0.
        seconds_a_step: for the solver at each radius; what it decides in time depends on the machine.
        exact_up_to: unlabeled images up to which the integer program is asked.

    Raises:
        ConfigError: an argument is out of range.
    """

    needs = Need.IMAGE_FEATURES | Need.LABELED

    def __init__(
        self, outlier_share: float = 1e-4, seconds_a_step: float = 60.0, exact_up_to: int = EXACT_UP_TO
    ) -> None:
        if not 0 <= outlier_share < 1:
            raise ConfigError(f"acquisition.outlier_share must be in [0, 1), got {outlier_share}")
        if not seconds_a_step > 0 or exact_up_to < 0:
            raise ConfigError(
                "acquisition.seconds_a_step must be positive and exact_up_to not negative, "
                f"got {seconds_a_step} and {exact_up_to}"
            )
        self.outlier_share, self.seconds_a_step, self.exact_up_to = outlier_share, seconds_a_step, exact_up_to

    def select(self, context: Context) -> Query:
        """See :func:`alpl.selection.core_set.core_set`; the utility is the distance to all chosen before."""
        assert context.labeled is not None, "Need.LABELED was declared"
        features, centers = context.predictions.image_features, context.labeled.image_features
        assert features is not None and centers is not None, "Need.IMAGE_FEATURES was declared"
        found = core_set(
            features,
            centers,
            context.budget,
            num_outliers=int(self.outlier_share * (len(features) + len(centers))),
            seconds_a_step=self.seconds_a_step,
            exact_up_to=self.exact_up_to,
        )
        log.info("core-set: radius %.6g, bound %.6g, gap %.2f %%", found.radius, found.bound, 100 * found.gap)
        return Query(context.predictions.index.cpu()[found.index.cpu()], found.distances)
