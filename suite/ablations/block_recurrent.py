"""The Block-Recurrent Transformer's studies, all of them of language models (arXiv 2203.07852)."""

from suite.ablations.base import PLACES, Factor, multiples, only_at, values

FACTORS = (
    Factor(
        "block_recurrent.gate",
        "Gate",
        "How new states replace old ones: by one learned weight per feature, or by an LSTM's gates.",
        values("gate", "fixed", "lstm"),
        "arXiv 2203.07852, table 1 and section 4.2 (Rec:fixed, Rec:lstm)",
        "lm.pg19",
    ),
    Factor(
        "block_recurrent.configuration",
        "Configuration of the states' direction",
        "One gate and no feed-forward part (skip), one gate behind it (single), or gates before and behind it (dual).",
        values("configuration", "skip", "single", "dual"),
        "arXiv 2203.07852, table 1 (skip, single, dual)",
        "lm.pg19",
    ),
    Factor(
        "block_recurrent.states",
        "Number of states",
        "The number S of state vectors, as a multiple of the base's; published from 128 to 2048 around 512.",
        multiples("states", 1 / 4, 1 / 2, 1, 2, 4),
        "arXiv 2203.07852, section 4.3, number of recurrent states",
        "lm.pg19",
    ),
    Factor(
        "block_recurrent.window",
        "Window",
        "The length W of a block and of the window of attention, as a multiple of the base's.",
        multiples("window", 1 / 4, 1 / 2, 1, 2),
        "arXiv 2203.07852, table 1 (baselines of several windows)",
        "lm.pg19",
    ),
    Factor(
        "block_recurrent.placement",
        "Place of the recurrent layer",
        "Which layers are recurrent; the others are sliding-window layers of the same sizes.",
        PLACES | {"two adjacent": only_at(lambda depth: (max(0, depth // 2 - 1), depth // 2))},
        "arXiv 2203.07852, section 4.3, place and number of recurrent layers",
        "lm.pg19",
    ),
)
