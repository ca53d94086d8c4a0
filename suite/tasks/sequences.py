"""Pixels, speech and a pendulum as sequences: what S4, S5 and SeqBoat are tested on beside the Long Range Arena."""

from suite.tasks import Task

PROTOCOLS = {
    "pixels.smnist": {"s5": "s5-pixels"},
    "pixels.psmnist": {"s5": "s5-pixels"},
    "pixels.scifar": {"s5": "s5-pixels"},
    "speech.sc35": {"s5": "s5-speech-commands"},
    "speech.sc10": {"seqboat": "sc10-mega"},
    "pendulum.regression": {"s5": "s5-pendulum"},
}
"""The published protocol of each architecture's paper recipe; of the others no paper prints a number here."""

NOT_COMPARABLE = {"speech.sc10": "the number that the SeqBoat paper prints for ten words is not transcribed here"}
"""Why the numbers of a task stand beside no published one."""


def tasks() -> list[Task]:
    """The six tasks of the benchmark."""
    titles = {
        "pixels.smnist": "sMNIST (784 pixels)",
        "pixels.psmnist": "psMNIST (784 pixels in bit-reversed order)",
        "pixels.scifar": "sCIFAR (CIFAR-10, 1,024 pixels of three colours)",
        "speech.sc35": "Speech Commands, 35 words (16 kHz, and 8 kHz without training)",
        "speech.sc10": "Speech Commands, 10 words (16 kHz)",
        "pendulum.regression": "Pendulum (50 frames at irregular times)",
    }
    return [
        Task(
            name=name,
            benchmark="sequences",
            title=title,
            run="train",
            metric="test_mse" if name == "pendulum.regression" else "test_accuracy",
            protocols=PROTOCOLS[name],
            not_comparable=NOT_COMPARABLE.get(name, ""),
        )
        for name, title in titles.items()
    ]
