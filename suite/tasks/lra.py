"""Long Range Arena (Tay et al. 2021): six classification tasks of 1,024 to 16,384 positions, and Path-256 of 65,536."""

from suite.tasks import Task

PROTOCOLS = {
    "s5": "lra-s4-line",
    "s4": "lra-s4-line",
    "s4d": "lra-s4-line",
    "mega": "lra-mega",
    "seqboat": "lra-mega",
    "spade": "spade-lra",
    "transformer": "lra-tay",
}
"""The published protocol of each architecture's paper recipe. Of the others no paper prints a number here; of Path-256,
whose images are in the release, none of any architecture here."""

_NOT_HERE = "this version reads no {0} data; run the tasks that `python -m suite.data list` names"


def tasks() -> list[Task]:
    """The six tasks of the benchmark, and the images of 256 x 256 that its authors released beside them."""
    titles = {
        "listops": "ListOps",
        "text": "Text (IMDb, characters)",
        "retrieval": "Retrieval (AAN, characters)",
        "image": "Image (CIFAR-10, grey pixels)",
        "pathfinder": "Pathfinder (32 x 32)",
        "pathx": "Path-X (128 x 128)",
        "path256": "Path-256 (256 x 256)",
    }
    return [
        Task(
            name=f"lra.{name}",
            benchmark="lra",
            title=title,
            run="train",
            metric="test_accuracy",
            protocols={} if name == "path256" else PROTOCOLS,
            missing_data=_NOT_HERE.format(title),
        )
        for name, title in titles.items()
    ]
