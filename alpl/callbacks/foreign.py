"""Lightning's own callbacks in a fit: which of them cannot be, and what they say in one line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from lightning.pytorch import Trainer, callbacks
from lightning.pytorch.callbacks import Callback, Checkpoint, EarlyStopping

from alpl.errors import ConfigError

_NO_LOGGER = "it writes to a logger of Lightning's, and there is none; epochs.csv holds the rate and the losses"
_TRIALS = "it trains on trial and goes back by checkpoints of its own"

REFUSED: Mapping[type[Callback], str] = {
    Checkpoint: "the run keeps checkpoints of its own: checkpoint_every_s and keep_models say which",
    callbacks.ProgressBar: "the run shows its progress itself",
    callbacks.ModelSummary: "it would print at every fit; cost.json counts the parameters",
    callbacks.LearningRateMonitor: _NO_LOGGER,
    callbacks.DeviceStatsMonitor: _NO_LOGGER,
    callbacks.ThroughputMonitor: _NO_LOGGER,
    callbacks.Timer: "a fit's end would depend on how fast the machine is; trainer.max_epochs or max_steps sets it",
    callbacks.BatchSizeFinder: _TRIALS,
    callbacks.LearningRateFinder: _TRIALS,
    callbacks.BasePredictionWriter: "callbacks are attached to fits alone, which predict nothing",
    callbacks.StochasticWeightAveraging: (
        "it trains an epoch more for batch norm, which is no epoch of the record; WeightAveraging averages as well"
    ),
}
"""Callbacks that clash with what the loop does itself, and the reason; with all that derive from them."""


def check_callbacks(made: Mapping[str, Callback], *, has_validation: bool) -> None:
    """Refuse callbacks that cannot work, before any training.

    Args:
        made: by their names in the config.
        has_validation: whether images are held out for validation.

    Raises:
        ConfigError: one is refused, or watches what no validation image will give.
    """
    for name, callback in made.items():
        for kind, reason in REFUSED.items():
            if isinstance(callback, kind):
                raise ConfigError(f"callbacks.{name} must not be a {type(callback).__name__}: {reason}")
        monitor = getattr(callback, "monitor", None)
        if isinstance(monitor, str) and monitor.startswith("val/") and not has_validation:
            raise ConfigError(
                f"callbacks.{name}.monitor must be logged, got {monitor!r}, but no images are held out for validation; "
                "a classifier's are with data.validation=5%, and train/loss needs none"
            )


@contextmanager
def monitors_told(trainer: Trainer) -> Iterator[None]:
    """Say in one line that a fit, at the end of its first epoch, misses what a callback watches.

    Raises:
        ConfigError: it does.
    """
    try:
        yield
    except RuntimeError as error:
        missing = [
            callback.monitor
            for callback in trainer.early_stopping_callbacks
            if isinstance(callback, EarlyStopping) and callback.monitor not in trainer.callback_metrics
        ]
        if not missing or not str(error).startswith("Early stopping conditioned"):
            raise
        logged = ", ".join(sorted(trainer.callback_metrics))
        raise ConfigError(
            f"monitor of EarlyStopping must be a value that the fit logs ({logged}), got {missing[0]!r}"
        ) from error
