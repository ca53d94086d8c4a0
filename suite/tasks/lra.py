"""Long Range Arena (Tay et al. 2021): six classification tasks of 1,024 to 16,384 positions."""

from suite.tasks import Task

_NOT_HERE = "this version reads no {0} data; run the tasks that `python -m suite.data list` names"


def tasks() -> list[Task]:
    """The six tasks of the benchmark."""
    titles = {
        "listops": "ListOps",
        "text": "Text (IMDb, characters)",
        "retrieval": "Retrieval (AAN, characters)",
        "image": "Image (CIFAR-10, grey pixels)",
        "pathfinder": "Pathfinder (32 x 32)",
        "pathx": "Path-X (128 x 128)",
    }
    return [
        Task(
            name=f"lra.{name}",
            benchmark="lra",
            title=title,
            run="train",
            metric="test_accuracy",
            comparable_to="lra-s4-line",
            missing_data=_NOT_HERE.format(title),
        )
        for name, title in titles.items()
    ]
