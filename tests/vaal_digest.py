"""A trainer of a partner for runs of several processes: each tells what weights it has at the end of a fit."""

import hashlib
import os
from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback

FOLDER = "ALPL_TEST_DIGESTS"


class Digest(Callback):
    def on_fit_end(self, trainer, pl_module) -> None:
        digest = hashlib.sha256()
        for name, value in sorted(pl_module.named_parameters()):
            digest.update(name.encode() + value.detach().cpu().numpy().tobytes())
        Path(os.environ[FOLDER], f"partner_of_{trainer.global_rank}").write_text(digest.hexdigest())


def trainer(callbacks, **options) -> Trainer:
    return Trainer(callbacks=[*callbacks, Digest()], **options)
