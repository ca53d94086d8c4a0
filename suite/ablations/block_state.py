"""Block-State Transformers' studies, all of them of language models (arXiv 2306.09539)."""

from suite.ablations.base import PLACES, Factor, layer_of, single, spread, values, with_layer
from suite.recipes.base import Recipe


def unstructured(recipe: Recipe) -> Recipe:
    """Filters without structure, trained as far as the longest sequence where the data say how long that is."""
    own = layer_of(recipe)
    longest = recipe.data.settings.get("max_length", own.filter_length)
    return with_layer(recipe, own.replace(kernel="unstructured", filter_length=longest))


FACTORS = (
    Factor(
        "block_state.variant",
        "Contexts",
        "One filter per feature whose outputs are lifted to the heads (SH), one per head (MH), or one per context "
        "state, of which the last outputs of a window are kept (MF).",
        values("variant", "SH", "MH", "MF"),
        "arXiv 2306.09539, table 1 (SH, MH, MF)",
        "lm.pg19",
    ),
    Factor(
        "block_state.kernel",
        "Kernel of the state space model",
        "S4, its diagonal form S4D, or filters without structure.",
        {**values("kernel", "s4", "s4d"), "unstructured": unstructured},
        "arXiv 2306.09539, table 1 (S4, unstructured); S4D is not published",
        "lm.pg19",
    ),
    Factor(
        "block_state.layers",
        "Number and place of Block-State layers",
        "Which layers have contexts; the others are sliding-window layers of the same sizes.",
        PLACES
        | {f"layer {layer} of 12": single(layer) for layer in (3, 7, 9)}
        | {f"{count} layers": spread(count) for count in (2, 3, 4, 5)},
        "arXiv 2306.09539, appendix, place of a single layer (3, 7, 9 or 12) and number of layers (2 to 5)",
        "lm.pg19",
    ),
    Factor(
        "block_state.state_size",
        "State size",
        "The state size N of the structured kernels.",
        values("state_size", 8, 16, 32, 64),
        "arXiv 2306.09539, appendix, state size of S4",
        "lm.pg19",
    ),
)
