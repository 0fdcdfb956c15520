"""Whether loaders give every image that they are asked for."""

from __future__ import annotations

from collections.abc import Mapping

from lightning.pytorch import Trainer

from alpl.errors import ConfigError

_REPLACE: Mapping[str, str] = {
    "fast_dev_run": "it fits, tests and predicts one batch; trainer.max_epochs=1 and a small schedule make a trial",
    "overfit_batches": "it puts other samplers in place of the run's; schedule.initial.size says what is trained on",
    "barebones": "a fit could not keep checkpoints",
}
"""Flags that are off by default, and why they stay so."""

_CUT = "limit_train_batches", "limit_val_batches", "limit_test_batches", "limit_predict_batches"


def check_whole_loaders(trainer: Trainer, place: str) -> None:
    """Refuse a trainer that would cut or replace loaders: what it leaves out would be missing without a word.

    Args:
        trainer: as the loop makes it.
        place: of its flags in the config, for the message.

    Raises:
        ConfigError: it would.
    """
    for name, reason in _REPLACE.items():
        if value := getattr(trainer, name):
            raise ConfigError(f"{place}.{name} must be off, got {value!r}: {reason}")
    for name in _CUT:
        value = getattr(trainer, name)
        is_whole = isinstance(value, float) and value == 1  # an int counts batches
        if not is_whole and not (name == "limit_val_batches" and value == 0):
            reason = "every image counts; trainer.max_steps makes a fit shorter"
            raise ConfigError(f"{place}.{name} must be 1.0, got {value!r}: {reason}")
