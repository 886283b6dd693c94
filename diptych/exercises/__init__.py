"""Ten exercises of a course on VAEs and recurrent networks, each as one short function.

1. Minibatches             `minibatches`: shuffled images, or contiguous windows of a text
2. A training step         `training_step`: loss, gradients, one step of the optimiser
3. Watching gradients      `gradient_norm`
4. Gradient clipping       the argument `clip` of `training_step` and `fit`
5. Learning-rate schedule  the argument `schedule` of `fit`: see diptych.runs.schedules
6. The training loop       `fit`
7. Evaluation              `evaluate`: a main score in nats, and a second one that is easy to read
8. An ablation             `ablate`: one field of a config changed at a time
9. Inference               `Predictor`
10. A reproducible record  `RunFolder`: a run's folder, which `diptych evaluate` reads

    panel = make_panel("mlp_vae", config, "numpy", key=key.fold_in("weights"))
    history = fit(panel, x, key, epochs=10, batch_size=64, lr=1e-3, clip=5.0)
    scores = evaluate(panel, held_out, key).numbers()
    prediction = Predictor(panel)(held_out[0])

    folder = RunFolder("runs/mine")
    folder.begin(RunConfig("mlp_vae", vars(config), "digits", backend="numpy"), dataset)
    for line in history.lines():
        folder.log(line)
    weights.save(panel.model, folder.last_file)

All of them take either panel and any of the five models. A VAE takes images in its own shape: rows
(N, D) for mlp_vae, (N, C, H, W) for conv_vae and vlae; `pairs.get(model).to_batch(config, x,
image_shape)` makes them of a data set's rows. An RNN or LSTM takes a text as a stream of token ids,
int64 (N,). They do the same as the project's own runs (diptych.training.train): the same order
of examples, the same noise, the same steps, the same weights at the end.
"""

from diptych.exercises.ablation import Ablation, ablate
from diptych.exercises.images import Prediction, Scores
from diptych.exercises.inference import Predictor, evaluate
from diptych.exercises.steps import History, fit, minibatches, training_step
from diptych.exercises.text import TextPrediction, TextScores
from diptych.runs.folder import RunFolder
from diptych.training.step import StepResult, gradient_norm

__all__ = [
    "Ablation",
    "History",
    "Prediction",
    "Predictor",
    "RunFolder",
    "Scores",
    "StepResult",
    "TextPrediction",
    "TextScores",
    "ablate",
    "evaluate",
    "fit",
    "gradient_norm",
    "minibatches",
    "training_step",
]
