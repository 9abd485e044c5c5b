"""Make the network of a run, with its parameters before the first step."""

from __future__ import annotations

from typing import List, Tuple

import chainer
import numpy as np

from manifests.record.run_files import RunFiles
from manifests.record.schema import DataIdentity, Training
from trainer.initial import set_initial
from trainer.model_file import load_initial
from trainer.models import MODELS
from trainer.models.classifier import Classifier


def build_model(
    training: Training, data: DataIdentity, files: RunFiles
) -> Tuple[Classifier, List[str]]:
    """Return the network and what is to be said about ``initmodel``.

    Raises TrainerError when the model file cannot be used.
    """
    # Chainer takes these from environment variables unless they are set.
    chainer.global_config.dtype = np.dtype(np.float32)
    chainer.global_config.use_ideep = "never"
    model = MODELS[training.arch](training.nclasses)
    set_initial(model, training.seed, model.initial_limit)
    notes = load_initial(model, files.initmodel) if data.initmodel is not None else []
    return model, notes
