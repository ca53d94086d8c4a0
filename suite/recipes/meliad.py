"""How the language models of the Block-Recurrent Transformer's table 1 are trained, and with them those of BST.

Hutchins, Schlag, Wu, Dyer and Neyshabur 2022 (arXiv 2203.07852), numbers of `transformer/configs` of
google-research/meliad@cc1aef5; Fathi et al. 2023 (arXiv 2306.09539) train Block-State Transformers by "the same
training setup". Their arXiv and GitHub corpora are private: ours are stand-ins.
"""

from __future__ import annotations

from suite.recipes import language
from suite.recipes.base import DataSpec, LanguageTraining, Recipe
from suite.recipes.language import Layers, Task
from suite.training.optimizer import Group, OptimizerSpec, Schedule

REPOSITORY = "google-research/meliad@cc1aef5"
TASKS: tuple[Task, ...] = ("pg19", "arxiv", "github")
UPDATES, EVALUATIONS, WARMUP = 500_000, 50, 1_000
DROPOUT = 0.05

SOURCE = {
    "model.layer, depth, placed": f"{REPOSITORY} transformer/configs: size/medium_150M.gin, base_memory.gin, recurrent",
    "model.embedding_stddev, scale_logits": f"{REPOSITORY}: deviation 1, tied to the output, logits over sqrt(D)",
    "model.layer.dropout": f"{REPOSITORY}: 0.05",
    "model.output_dropout": f"{REPOSITORY}: 0.05, also before the output",
    "model.input_size": "the T5 vocabulary, 32,128 entries; arXiv and GitHub there: another of 32k, not published",
    "model.compute_dtype": f"{REPOSITORY}: activations in bfloat16, parameters in float32",
    "language.segment, batch_size": f"{REPOSITORY} options/seq_4096.gin: one sequence on each of 32 devices",
    "language.updates": "500,000 in all (tasks/pg19_tokens.gin at fc4b036)",
    "language.evaluation, epochs": "this project's: every document whole, 50 times",
    "optimizer": f"{REPOSITORY} trainer_configuration.gin, optimizer_config.py: Adafactor, updates scaled by the size "
    "of the parameters, decay 0.8, momentum 0.9, no weight decay, gradients not clipped; the rest as optax's defaults",
    "optimizer.schedule": f"{REPOSITORY} lr_rsqrt_decay_std, training_loop.py: 1/sqrt(step) from update 1,000, linear "
    "from 0 to it before, so 0.0316 at most; the repository's default is a cosine from 0.01 to 0.001",
    "not stated": "the norm before the output and the rule of selection are stated nowhere that we know",
    "not expressed": "the authors drop entries of the attention's weights too: here the Block-Recurrent layers do, the "
    "Transformer and Block-State layers of the stack do not",
}


def recipe(task: Task, layers: Layers, source: dict[str, str] | None = None) -> Recipe:
    """The training run of a stack of layers on books, papers or source code."""
    model = language.model(
        task,
        layers,
        input_size=language.T5,
        output="tied",
        scale_logits=True,
        final_norm="rms",
        output_dropout=DROPOUT,
        compute_dtype="bfloat16",
        loss_block=512,
    )
    return Recipe(
        model=model,
        optimizer=OptimizerSpec(
            groups={"regular": Group(1.0)},
            rule={},
            schedule=Schedule(warmup_steps=WARMUP, total_steps=UPDATES, decay="rsqrt", warmup_from=0.0),
            b1=0.9,
            algorithm="adafactor",
            decay_exponent=0.8,
        ),
        batch_size=32,
        evaluation_batch_size=32,
        epochs=EVALUATIONS,
        data=DataSpec(task, dict(language.PIECES)),
        selection="last epoch",
        source=SOURCE | (source or {}),
        language=LanguageTraining(updates=UPDATES // EVALUATIONS, segment=4_096, evaluation_segment=4_096),
    )
