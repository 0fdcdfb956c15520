"""Mixture density heads (AL-MDN, Choi et al. 2021): class and box as mixtures of M Gaussians.

One component is the paper's single Gaussian (SGM), which has no weights. Axes: M components (the paper's K), C = K + 1
outputs (0 is the background), W values of the class head, X of the box head; any axes before them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, TypeAlias, final

import torch
from torch import Tensor

from alpl.boxes.box_coding import VARIANCES
from alpl.errors import ConfigError
from alpl.losses.mixture import Density, Noise, gaussian_mixture_loss, mixture_cross_entropy, noisy_logits
from alpl.losses.multibox import at_least_single
from alpl.networks.heads import AbstractBoxHead, AbstractClassHead
from alpl.predictions.mixture import aleatoric, epistemic, mixture_log_posterior, mixture_mean, posterior_aleatoric

Choice: TypeAlias = Literal["as_written", "as_released"]

_ETA = 2  # what the box loss is divided by (Eq. 6)


class _Parts(NamedTuple):
    log_weights: Tensor  # [... M n]
    means: Tensor  # [... M n]
    raw_variances: Tensor  # [... M n], before the sigmoid; where the head has them


@final
@dataclass(frozen=True)
class MixtureClasses(AbstractClassHead):
    r"""A mixture over the logits (the paper's "gmm"): W = (2 C + 1) M, or 2 C for one component.

    The weights are shared by the outputs. Trained by Eq. 5 with one draw of noise a pass, which mining and loss share;
    tested by Eq. 7, without noise.

    Args:
        components: M.
        noise: see :func:`alpl.losses.mixture.noisy_logits`.
        epistemic: ``as_written``: Eq. 1 of the means, which are logits. ``as_released``: of the components'
            probabilities.

    Raises:
        ConfigError: a value is unknown or out of range.
    """

    components: int = 4
    noise: Noise = "as_written"
    epistemic: Choice = "as_written"

    gives_uncertainties: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_components(self.components, "classes")
        _check_choice(self.noise, "classes.noise")
        _check_choice(self.epistemic, "classes.epistemic")

    def num_values(self, num_outputs: int) -> int:
        """Means, variances, weights."""
        return 2 * self.components * num_outputs + _num_weights(self.components)

    def logits(self, values: Tensor) -> Tensor:
        """See the base class: the logarithm of the mean posterior of the components."""
        log_weights, means, _ = self._parts(values)
        return mixture_log_posterior(log_weights, means)

    def losses(self, values: Tensor, labels: Tensor) -> Tensor:
        """See the base class; each call draws its own noise."""
        log_weights, means, raw_variances = self._parts(values)
        return mixture_cross_entropy(log_weights, noisy_logits(means, raw_variances, self.noise), labels)

    def uncertainties(self, values: Tensor, labels: Tensor) -> Tensor:
        """See the base class; the variance is one of logits."""
        log_weights, means, raw_variances = self._parts(values)
        weights = log_weights.exp()[..., None]
        noise = aleatoric(weights, _of_labels(raw_variances.sigmoid(), labels))
        return torch.cat([noise, _disagreement(weights, means, labels, self.epistemic)], -1).float()

    def _parts(self, values: Tensor) -> _Parts:
        """``[... M]``, ``[... M C]`` and ``[... M C]``."""
        values = at_least_single(values)
        log_weights, rest = _weights(values, self.components)
        means, raw_variances = rest.chunk(2, -1)
        by_component = (self.components, means.shape[-1] // self.components)
        return _Parts(log_weights, means.unflatten(-1, by_component), raw_variances.unflatten(-1, by_component))


@final
@dataclass(frozen=True)
class EfficientMixtureClasses(AbstractClassHead):
    r"""A mixture of posteriors without variances (the paper's "eff", sec. 3.2): W = (C + 1) M, or C for one component.

    Trained by Eq. 9, tested by Eq. 7. The aleatoric uncertainty is the diagonal entry of Eq. 8 of the output that is
    named; the paper does not say which entry counts.

    Args:
        components: M.
        epistemic: see :class:`MixtureClasses`; the code of this head was not released, so that ``as_released`` is by
            analogy.

    Raises:
        ConfigError: a value is unknown or out of range.
    """

    components: int = 4
    epistemic: Choice = "as_written"

    gives_uncertainties: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_components(self.components, "classes")
        _check_choice(self.epistemic, "classes.epistemic")

    def num_values(self, num_outputs: int) -> int:
        """Means, weights."""
        return self.components * num_outputs + _num_weights(self.components)

    def logits(self, values: Tensor) -> Tensor:
        """See the base class: the logarithm of the mean posterior of the components."""
        return mixture_log_posterior(*self._parts(values))

    def losses(self, values: Tensor, labels: Tensor) -> Tensor:
        """See the base class."""
        return mixture_cross_entropy(*self._parts(values), labels)

    def uncertainties(self, values: Tensor, labels: Tensor) -> Tensor:
        """See the base class."""
        log_weights, means = self._parts(values)
        weights = log_weights.exp()[..., None]
        noise = posterior_aleatoric(weights, _of_labels(means.softmax(-1), labels))
        return torch.cat([noise, _disagreement(weights, means, labels, self.epistemic)], -1).float()

    def _parts(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """``[... M]`` and ``[... M C]``."""
        log_weights, means = _weights(at_least_single(values), self.components)
        return log_weights, means.unflatten(-1, (self.components, means.shape[-1] // self.components))


@final
@dataclass(frozen=True)
class MixtureBoxes(AbstractBoxHead):
    r"""A mixture over each of the four deltas by itself: X = 12 M, or 8 for one component.

    Trained by Eq. 3 over :math:`\eta = 2` (Eq. 6), tested by Eq. 7.

    Args:
        components: M.
        density: see :func:`alpl.losses.mixture.log_normal`.
        encoding: what the mixture is of. ``as_written``: Eq. 3, offsets of centers in sizes of the prior and logarithms
            of sizes. ``as_released``: the same over SSD's variances, 0.1 and 0.2 (Faster R-CNN's weights are their
            inverses).
        coordinates: which uncertainty is that of a box: ``max``, the largest of its four, or ``mean``, which the text
            found worse (sec. 3.3).

    Raises:
        ConfigError: a value is unknown or out of range.
    """

    components: int = 4
    density: Density = "as_written"
    encoding: Choice = "as_written"
    coordinates: Literal["max", "mean"] = "max"

    gives_uncertainties: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_components(self.components, "boxes")
        _check_choice(self.density, "boxes.density")
        _check_choice(self.encoding, "boxes.encoding")
        if self.coordinates not in ("max", "mean"):
            raise ConfigError(f"boxes.coordinates must be 'max' or 'mean', got {self.coordinates!r}")

    @property
    def num_values(self) -> int:
        """Means, variances, weights."""
        return 4 * (2 * self.components + _num_weights(self.components))

    def deltas(self, values: Tensor) -> Tensor:
        """See the base class: the mean of the mixture."""
        log_weights, means, _ = self._parts(values)
        return mixture_mean(log_weights.exp(), means) / self._unit(means)

    def losses(self, values: Tensor, aims: Tensor) -> Tensor:
        """See the base class."""
        log_weights, means, raw_variances = self._parts(values)
        wanted = aims.to(means) * self._unit(means)
        return gaussian_mixture_loss(log_weights, means, raw_variances, wanted, self.density).sum(-1) / _ETA

    def uncertainties(self, values: Tensor) -> Tensor:
        """See the base class; in units of the encoding, squared (the deviation itself where the density has it)."""
        log_weights, means, raw_variances = self._parts(values)
        weights = log_weights.exp()
        both = torch.stack([aleatoric(weights, raw_variances.sigmoid()), epistemic(weights, means)], -2)
        return (both.amax(-1) if self.coordinates == "max" else both.mean(-1)).float()

    def _parts(self, values: Tensor) -> _Parts:
        """``[... M 4]`` each."""
        values = at_least_single(values).unflatten(-1, (-1, self.components, 4))
        means, raw_variances, *weights = values.unbind(-3)
        log_weights = weights[0].log_softmax(-2) if weights else torch.zeros_like(means)
        return _Parts(log_weights, means, raw_variances)

    def _unit(self, like: Tensor) -> Tensor:
        """``Float[4]``: what a delta is multiplied with to be what the mixture is of."""
        center, size = VARIANCES if self.encoding == "as_written" else (1.0, 1.0)
        return like.new_tensor([center, center, size, size])


def _num_weights(components: int) -> int:
    return components if components > 1 else 0


def _weights(values: Tensor, components: int) -> tuple[Tensor, Tensor]:
    """Split the logarithms of the weights (Eq. 2), ``[... M]``, from the rest; they are the last values."""
    number = _num_weights(components)
    rest, raw = values.split([values.shape[-1] - number, number], -1)
    return (raw.log_softmax(-1) if number else values.new_zeros(*values.shape[:-1], 1)), rest


def _of_labels(values: Tensor, labels: Tensor) -> Tensor:
    """``[... M C]``, ``Long[...]`` -> ``[... M 1]``."""
    return values.gather(-1, labels[..., None, None].expand(*values.shape[:-1], 1))


def _disagreement(weights: Tensor, means: Tensor, labels: Tensor, choice: Choice) -> Tensor:
    """``[... 1]``: epistemic uncertainty of the outputs that are named."""
    values = means if choice == "as_written" else means.softmax(-1)
    return epistemic(weights, _of_labels(values, labels))


def _check_components(components: int, name: str) -> None:
    if components < 1:
        raise ConfigError(f"{name}.components must be >= 1, got {components}")


def _check_choice(choice: str, name: str) -> None:
    if choice not in ("as_written", "as_released"):
        raise ConfigError(f"{name} must be 'as_written' or 'as_released', got {choice!r}")
