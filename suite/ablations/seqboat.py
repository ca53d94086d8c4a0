"""SeqBoat's studies: working memory, attention function, sparse activation, what stands below (arXiv 2306.11197)."""

from suite.ablations.base import Factor, layer, layer_of, multiples, values
from suite.recipes.base import Recipe


def full(recipe: Recipe) -> Recipe:
    """All active tokens; the density from which nothing is compressed is the authors' where there is one."""
    threshold = None if layer_of(recipe).density_threshold is None else 0.9
    return layer(window=None, density_threshold=threshold)(recipe)


FACTORS = (
    Factor(
        "seqboat.working_memory",
        "Working memory",
        "The window w, counted in active tokens, as a multiple of the base's; or all active tokens (SeqBoat-full, "
        "which compresses nothing at a density of 0.9 or more, as the authors run it).",
        {
            **multiples("window", 1 / 4, 1 / 2, 1, 2),
            "full": full,
        },
        "arXiv 2306.11197, table of the Long Range Arena (SeqBoat, SeqBoat-full) and study of the working memory",
        "lra.listops",
    ),
    Factor(
        "seqboat.attention",
        "Attention function",
        "Softmax, squared ReLU, or Laplace.",
        values("attention", "softmax", "relu2", "laplace"),
        "not a table: a choice that the authors' run scripts make for each task",
        "lra.listops",
    ),
    Factor(
        "seqboat.activation",
        "Sparse activation",
        "The configurator chooses the tokens that attention works on, or every token is active.",
        {"learned": layer(always_act=False), "always": layer(always_act=True)},
        "arXiv 2306.11197, ablations of sparse modular activation (--always-act)",
        "lra.listops",
    ),
    Factor(
        "seqboat.mixer",
        "Moving average or S4D",
        "What stands below attention: a multi-head exponential moving average, or S4D of the same state size.",
        {"ema": layer(mixer="ema"), "s4d": layer(mixer="s4d", truncation=None)},
        "arXiv 2306.11197, ablation of MH-EMA against S4D",
        "lra.listops",
    ),
    Factor(
        "seqboat.position",
        "Positions of attention",
        "A learned bias of original distances (simple), of distances among active tokens (local), or rotary angles.",
        values("bias", "simple", "local", "rotary"),
        "not a table: --local-pos of the authors' run scripts, rotary in their language model",
        "lra.listops",
    ),
)
