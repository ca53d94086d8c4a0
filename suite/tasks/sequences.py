"""Pixels, speech and a pendulum as sequences: what S4, S5 and SeqBoat are tested on beside the Long Range Arena."""

from suite.tasks import Task


def tasks() -> list[Task]:
    """The six tasks of the benchmark."""
    titles = {
        "pixels.smnist": "sMNIST (784 pixels)",
        "pixels.psmnist": "psMNIST (784 pixels in bit-reversed order)",
        "pixels.scifar": "sCIFAR (CIFAR-10, 1,024 pixels of three colours)",
        "speech.sc35": "Speech Commands, 35 words (16 kHz, and 8 kHz without training)",
        "speech.sc10": "Speech Commands, 10 words (16 kHz)",
    }
    classification = [
        Task(name=name, benchmark="sequences", title=title, run="train", metric="test_accuracy")
        for name, title in titles.items()
    ]
    title = "Pendulum (50 frames at irregular times)"
    return [*classification, Task("pendulum.regression", "sequences", title, run="train", metric="test_mse")]
