"""Layer speed: forward, forward and backward, and a streaming step of one layer against sequence length."""

from suite.speed.config import (
    block_transformers,
    layer_speed,
    recurrent_transformers,
    s5_and_s4,
    seqboat_activity,
    window_kernels,
)
from suite.tasks import Task


def tasks() -> list[Task]:
    """A layer of every architecture beside the sliding-window Transformer, and the comparisons of the papers."""
    return [
        Task(
            name="speed.layer",
            benchmark="speed",
            title="One layer beside a sliding-window Transformer layer",
            run="speed",
            metric="layer_speed",
            settings=layer_speed,
        ),
        Task(
            name="speed.block_state",
            benchmark="speed",
            title="Block-State beside Block-Recurrent and sliding-window layers",
            run="speed",
            metric="layer_speed",
            settings=block_transformers,
        ),
        Task(
            name="speed.block_recurrent",
            benchmark="speed",
            title="Block-Recurrent beside sliding-window and Transformer-XL layers",
            run="speed",
            metric="layer_speed",
            settings=recurrent_transformers,
        ),
        Task(
            name="speed.s5",
            benchmark="speed",
            title="S5 beside S4 and S4D",
            run="speed",
            metric="layer_speed",
            settings=s5_and_s4,
        ),
        Task(
            name="speed.seqboat",
            benchmark="speed",
            title="SeqBoat against the share of active tokens",
            run="speed",
            metric="layer_speed",
            settings=seqboat_activity,
        ),
        Task(
            name="speed.attention",
            benchmark="speed",
            title="A sliding window by each kernel of attention",
            run="speed",
            metric="layer_speed",
            settings=window_kernels,
        ),
    ]
