"""S5's studies: its appendix compares initial eigenvalues, blocks and state sizes, time steps and discretisations.

The Long Range Arena of the appendix is run with the recipes of the main table (arXiv 2208.04933).
"""

from suite.ablations.base import Factor, multiples, values

FACTORS = (
    Factor(
        "s5.initialization",
        "Initial eigenvalues",
        "The eigenvalues of HiPPO-N in blocks, or of the whole state those of S4D-Lin or S4D-Inv (S5-Lin, S5-Inv) or "
        "of a random antisymmetric matrix; B, C and their basis are drawn alike.",
        values("Lambda_init", "hippo", "lin", "inv", "antisymmetric"),
        "arXiv 2208.04933, appendix, alternative diagonal initialisations (S5-Lin, S5-Inv)",
        "lra.listops",
    ),
    Factor(
        "s5.output_initialization",
        "Initial output map",
        "How C is drawn, by the names of the authors' code, in which each task has its own.",
        values("C_init", "lecun_normal", "trunc_standard_normal", "complex_normal"),
        "not a table: a choice that the authors' run scripts make for each task",
        "lra.listops",
    ),
    Factor(
        "s5.blocks",
        "Blocks of the initial state matrix",
        "The number J of HiPPO-N blocks on the diagonal at the same state size; parameters and cost stay.",
        values("blocks", 1, 2, 4, 8),
        "arXiv 2208.04933, appendix, ablations of the block-diagonal initialisation",
        "lra.listops",
    ),
    Factor(
        "s5.state_size",
        "State size",
        "The state size P, as a multiple of the base's, at the same number of blocks, which grow with it.",
        multiples("ssm_size", 1, 2, 4, 8),
        "arXiv 2208.04933, appendix, ablations of the block-diagonal initialisation",
        "lra.listops",
    ),
    Factor(
        "s5.discretization",
        "Discretisation",
        "Zero-order hold, as published, or the bilinear rule.",
        values("discretization", "zoh", "bilinear"),
        "arXiv 2208.04933, appendix, parameterisation and discretisation",
        "lra.listops",
    ),
    Factor(
        "s5.step",
        "Scalar or vector time step",
        "A learned time step for every state, or one for the whole layer.",
        values("timescale", "vector", "scalar"),
        "arXiv 2208.04933, appendix, ablations of the time step",
        "lra.listops",
    ),
)
