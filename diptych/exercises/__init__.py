"""What a course on the VAE asks its students to write, each as one function that can be read.

    panel = make_panel("mlp_vae", config, "numpy", key=key)
    with RunRecorder("runs/mine", config, seed=0) as record:
        history = fit(panel, x, key, epochs=10, batch_size=64, lr=1e-3, clip=5.0)
        record.log(**evaluate(panel, held_out, key).numbers())
    prediction = Predictor(panel)(held_out[0])

All of them take either panel and any VAE, and its images as it takes them: rows (N, D) for mlp_vae,
(N, C, S, S) for conv_vae. `pairs.get(model).to_batch(config, x, image_shape)` makes them of a data
set's rows. They do what the project's own runs do (diptych.training.train): the same order of
examples, the same noise, the same steps, the same weights at the end.
"""

from diptych.exercises.ablation import Ablation, ablate
from diptych.exercises.evaluation import Scores, evaluate
from diptych.exercises.prediction import Prediction, Predictor
from diptych.exercises.recorder import RunRecorder
from diptych.exercises.steps import (
    History,
    TrainingStep,
    fit,
    gradient_norm,
    minibatches,
    training_step,
)

__all__ = [
    "Ablation",
    "History",
    "Prediction",
    "Predictor",
    "RunRecorder",
    "Scores",
    "TrainingStep",
    "ablate",
    "evaluate",
    "fit",
    "gradient_norm",
    "minibatches",
    "training_step",
]
