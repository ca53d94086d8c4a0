"""Films of a swinging pendulum, watched at irregular times (Becker et al. 2019; Schirmer et al. 2022; S5, section 4.3).

A reimplementation of the generator that the S5 authors used (andrewwarrington/Continuous-Recurrent-Units@f6df8ae,
`lib/pendulum_generation.py`), with its numbers and draws of its own:

    theta'' = 3 g / l sin(theta) - friction theta',  Euler steps of 0.1 ms; the velocity is disturbed every 10 ms

What decides a bit is made of sums, products and roundings, which IEEE 754 fixes: the sine is a polynomial and images are
reduced in integers. The normal draws alone call the C library (`log`); where its last bit differs, a frame or target may.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64, UInt8

from suite.data.sequences import Advance, Sequences, silent

GRAVITY, LENGTH, MASS, FRICTION = 9.81, 1.0, 1.0, 0.1
STEP, SUBSTEPS = 0.01, 100
"""Seconds between two frames, and Euler steps in them."""
TRANSITION_NOISE, OBSERVATION_NOISE = 0.1, 1e-5
FRAMES = 100
SIZE, DRAWN_SIZE, DRAWN_LENGTH, DRAWN_WIDTH = 24, 128, 55, 8
CLEAN_FRAMES, WALK = 5, 0.2
"""Frames without noise at the start, and how far the share of the picture in a frame can move to the next one."""
BLOCK = 100
"""Films that are made together, from random numbers of their own."""

_STREAMS = {"train": 0, "validation": 1, "test": 2}


def sine(x: Float[np.ndarray, "*shape"]) -> Float64[np.ndarray, "*shape"]:
    """sin x to about 1e-15 within some turns of 0, the same bits on every machine: reduced to [-pi/2, pi/2] and a Taylor polynomial."""
    turns = np.rint(x * (1 / math.pi))
    x = (x - turns * 3.141592653589793) - turns * 1.2246467991473532e-16
    square, total = x * x, np.zeros_like(x)
    for order in range(23, 1, -2):
        total = (total + 1.0) * (-square / (order * (order - 1)))
    return np.where(turns % 2 == 0, 1.0, -1.0) * (x + x * total)


def cosine(x: Float[np.ndarray, "*shape"]) -> Float64[np.ndarray, "*shape"]:
    """cos x, from `sine`."""
    return sine(x + math.pi / 2)


def angles(
    start: Float[np.ndarray, " N"], kicks: Float[np.ndarray, "N frames_less_1"]
) -> Float64[np.ndarray, "N frames"]:
    """The pendulum's angle from the upright, in radians, at every frame: at rest at `start` and then pushed about."""
    theta, velocity = start, np.zeros_like(start)
    pull, step = GRAVITY * LENGTH * MASS / (MASS * LENGTH**2 / 3), STEP / SUBSTEPS
    film = [theta]
    for kick in kicks.T:
        for _ in range(SUBSTEPS):
            velocity = velocity + step * (pull * sine(theta) - velocity * FRICTION)
            theta = theta + step * velocity
        velocity = velocity + kick
        theta = theta % (2 * math.pi)
        film.append(theta)
    return np.stack(film, 1) - math.pi


@lru_cache
def reduction() -> Float64[np.ndarray, "24 128"]:
    """Lanczos weights (three lobes) that reduce 128 pixels to 24, in units of 2^-16 whose rows sum to 2^16."""
    scale = DRAWN_SIZE / SIZE
    at = (np.arange(DRAWN_SIZE) + 0.5 - (np.arange(SIZE)[:, None] + 0.5) * scale) / scale
    weights = np.where(np.abs(at) < 3, np.sinc(at) * np.sinc(at / 3), 0.0)
    exact = np.rint(weights / weights.sum(1, keepdims=True) * 2**16)
    exact[np.arange(SIZE), exact.argmax(1)] += 2**16 - exact.sum(1)
    return exact


def drawn(dx: int, dy: int) -> Bool[np.ndarray, "128 128"]:
    """Pixels (row, column) of a thick line from the centre to the pixel `dx` to the right and `dy` below."""
    offset = np.arange(DRAWN_SIZE) - DRAWN_SIZE // 2
    columns, rows = offset[None, :], offset[:, None]
    along, across, square = columns * dx + rows * dy, columns * dy - rows * dx, dx * dx + dy * dy
    return (along >= 0) & (along <= square) & (4 * across * across <= DRAWN_WIDTH**2 * square)


@lru_cache(maxsize=1 << 10)
def picture(dx: int, dy: int) -> UInt8[np.ndarray, "24 24"]:
    """The line reduced to 24 x 24 by Lanczos weights, as Pillow does."""
    weights = reduction()
    light = weights @ drawn(dx, dy).astype(np.float64) @ weights.T  # sums of integers below 2^53: exact in any order
    return (255 * np.clip(light / 2**32, 0, 1)).astype(np.uint8)


def pictures(theta: Float[np.ndarray, "N F"]) -> UInt8[np.ndarray, "N F 24 24"]:
    """One picture per angle; a line ends at a whole pixel, so that there are a few hundred of them."""
    centre = DRAWN_SIZE // 2
    ends = ((end * DRAWN_LENGTH + centre).astype(np.int64) - centre for end in (sine(theta), cosine(theta)))
    different, which = np.unique(np.stack([end.reshape(-1) for end in ends]), axis=1, return_inverse=True)
    found = np.stack([picture(dx, dy) for dx, dy in different.T.tolist()])
    return found[which.reshape(-1)].reshape(*theta.shape, SIZE, SIZE)


def shares(count: int, random: np.random.RandomState) -> Float64[np.ndarray, "count frames"]:
    """How much of a frame is the picture, the rest being noise: a random walk, stretched so that it stays at 0 and 1."""
    walk = [random.uniform(0.0, 1.0, count)]
    for _ in range(FRAMES - 1):
        walk.append(np.clip(walk[-1] + random.uniform(-WALK, WALK, count), 0.0, 1.0))
    low, high = random.uniform(0.0, 0.25, (count, 1)), random.uniform(0.75, 1.0, (count, 1))
    found = np.clip((np.stack(walk, 1) - low) / (high - low), 0.0, 1.0)
    found[:, :CLEAN_FRAMES] = 1.0
    return found


@dataclass(frozen=True)
class Draws:
    """The random numbers of a block of films, but for the noise in their frames, which `random` goes on to draw."""

    start: Float64[np.ndarray, " N"]
    kicks: Float64[np.ndarray, "N frames_less_1"]
    seen: Float64[np.ndarray, "N frames"]
    share: Float64[np.ndarray, "N frames"]
    times: Int64[np.ndarray, "N frames"]
    random: np.random.RandomState


def draw(split: str, seed: int, kept: int, block: int) -> Draws:
    """What chance decides in a block of a split: `kept` of the frames are watched, in order."""
    words = np.random.SeedSequence([seed, _STREAMS[split], block]).generate_state(4)
    random = np.random.RandomState(words)
    start = random.uniform(0, 2 * math.pi, BLOCK)
    kicks = random.normal(0.0, TRANSITION_NOISE, (BLOCK, FRAMES - 1))
    seen = random.normal(0.0, OBSERVATION_NOISE, (BLOCK, FRAMES))
    share = shares(BLOCK, random)
    order = np.argsort(random.randint(0, 1 << 32, (BLOCK, FRAMES), dtype=np.uint32), 1, kind="stable")
    return Draws(start, kicks, seen, share, np.sort(order[:, :kept], 1), random)


def film(theta: Float[np.ndarray, "N frames"], draws: Draws) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (N, F, 577), pixels and the frames since the one before (1 at the first), and targets (N, F, 2)."""
    times = draws.times
    angle, seen, share = (np.take_along_axis(each, times, 1) for each in (theta, theta + draws.seen, draws.share))
    noise = draws.random.uniform(0.0, 255.0, (*times.shape, SIZE, SIZE))
    frames = (share[..., None, None] * pictures(seen) + (1 - share[..., None, None]) * noise).astype(np.uint8)
    since = np.diff(times, axis=1, prepend=times[:, :1] - 1).astype(np.uint8)
    inputs = np.concatenate([frames.reshape(*times.shape, -1), since[..., None]], -1)
    return inputs, np.stack([sine(angle), cosine(angle)], -1).astype(np.float32)


def generate_split(split: str, count: int, kept: int, seed: int, advance: Advance = silent) -> Sequences:
    """The first `count` films of a split: tokens (total, 577) uint8 and labels (count, F, 2) float32."""
    blocks = [draw(split, seed, kept, block) for block in range(-(-count // BLOCK))]
    inputs = np.zeros((count, kept, SIZE * SIZE + 1), np.uint8)
    targets = np.zeros((count, kept, 2), np.float32)
    if blocks:
        start, kicks = (np.concatenate([getattr(each, name) for each in blocks]) for name in ("start", "kicks"))
        theta = angles(start, kicks)  # all at once: it is many small steps
    for number, draws in enumerate(blocks):
        rows = slice(number * BLOCK, min((number + 1) * BLOCK, count))
        made = film(theta[number * BLOCK : (number + 1) * BLOCK], draws)
        inputs[rows], targets[rows] = (part[: rows.stop - rows.start] for part in made)
        advance(rows.stop - rows.start)
    offsets = np.arange(count + 1, dtype=np.int64) * kept
    return Sequences(inputs.reshape(count * kept, -1), offsets, targets)
