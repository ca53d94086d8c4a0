"""Films of a swinging pendulum, watched at irregular times (Becker et al. 2019; Schirmer et al. 2022; S5, section 4.3).

A reimplementation of the generator that the S5 authors used (andrewwarrington/Continuous-Recurrent-Units@f6df8ae,
`lib/pendulum_generation.py`), with its numbers and draws of its own:

    theta'' = 3 g / l sin(theta) - friction theta',  Euler steps of 0.1 ms; the velocity is disturbed every 10 ms

What decides a bit is made of sums, products and roundings, which IEEE 754 fixes: the sine is a polynomial and images are
reduced in integers. The normal draws alone call the C library (`log`); where its last bit differs, a frame or target may.
"""

import math
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache, partial

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64, UInt8

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
    """sin x to about 1e-15, the same bits on every machine: reduced to [-pi/2, pi/2] and a Taylor polynomial."""
    turns = np.rint(x * (1 / math.pi))
    x = (x - turns * 3.141592653589793) - turns * 1.2246467991473532e-16
    square, total = x * x, np.zeros_like(x)
    for order in range(23, 1, -2):
        total = (total + 1.0) * (-square / (order * (order - 1)))
    return np.where(turns % 2 == 0, 1.0, -1.0) * (x + x * total)


def cosine(x: Float[np.ndarray, "*shape"]) -> Float64[np.ndarray, "*shape"]:
    """cos x, from `sine`."""
    return sine(x + math.pi / 2)


def angles(count: int, frames: int, random: np.random.RandomState) -> Float64[np.ndarray, "count frames"]:
    """The pendulum's angle from the upright, in radians, at every frame; it starts at rest, anywhere."""
    theta, velocity = random.uniform(0, 2 * math.pi, count), np.zeros(count)
    pull, step = GRAVITY * LENGTH * MASS / (MASS * LENGTH**2 / 3), STEP / SUBSTEPS
    film = [theta]
    for _ in range(frames - 1):
        for _ in range(SUBSTEPS):
            velocity = velocity + step * (pull * sine(theta) - velocity * FRICTION)
            theta = theta + step * velocity
        velocity = velocity + random.normal(0.0, TRANSITION_NOISE, count)
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


def drawn(x: Float[np.ndarray, " N"], y: Float[np.ndarray, " N"]) -> Bool[np.ndarray, "N 128 128"]:
    """Pixels (row, column) of a thick line from the centre towards (x, y) of a unit circle, ended at a whole pixel."""
    centre = DRAWN_SIZE // 2
    dx, dy = ((end * DRAWN_LENGTH + centre).astype(np.int32) - centre for end in (x, y))
    offset = np.arange(DRAWN_SIZE, dtype=np.int32) - centre
    columns, rows = offset[None, None, :], offset[None, :, None]
    square = (dx * dx + dy * dy)[:, None, None]
    along = columns * dx[:, None, None] + rows * dy[:, None, None]
    across = columns * dy[:, None, None] - rows * dx[:, None, None]
    return (along >= 0) & (along <= square) & (4 * across * across <= DRAWN_WIDTH**2 * square)


def images(theta: Float[np.ndarray, "N F"]) -> UInt8[np.ndarray, "N F 24 24"]:
    """One picture per angle, reduced by Lanczos weights as Pillow does."""
    weights, flat = reduction(), theta.reshape(-1)
    pictures = []
    for part in np.array_split(flat, max(len(flat) // 500, 1)):
        lines = drawn(sine(part), cosine(part)).astype(np.float64)
        light = weights @ (lines @ weights.T)  # sums of integers below 2^53: exact in any order
        pictures.append((255 * np.clip(light / 2**32, 0, 1)).astype(np.uint8))
    return np.concatenate(pictures).reshape(*theta.shape, SIZE, SIZE)


def shares(count: int, frames: int, random: np.random.RandomState) -> Float64[np.ndarray, "count frames"]:
    """How much of a frame is the picture, the rest being noise: a random walk, stretched so that it stays at 0 and 1."""
    walk = [random.uniform(0.0, 1.0, count)]
    for _ in range(frames - 1):
        walk.append(np.clip(walk[-1] + random.uniform(-WALK, WALK, count), 0.0, 1.0))
    low, high = random.uniform(0.0, 0.25, (count, 1)), random.uniform(0.75, 1.0, (count, 1))
    found = np.clip((np.stack(walk, 1) - low) / (high - low), 0.0, 1.0)
    found[:, :CLEAN_FRAMES] = 1.0
    return found


def films(
    count: int, kept: int, random: np.random.RandomState
) -> tuple[UInt8[np.ndarray, "N F 24 24"], Float32[np.ndarray, "N F 2"], Int64[np.ndarray, "N F"]]:
    """Noisy frames, the sine and cosine of the angle at them, and their times in frames; `kept` of 100 frames each."""
    theta = angles(count, FRAMES, random)
    seen = theta + random.normal(0.0, OBSERVATION_NOISE, theta.shape)
    share = shares(count, FRAMES, random)
    order = np.argsort(random.randint(0, 1 << 32, (count, FRAMES), dtype=np.uint32), 1, kind="stable")
    times = np.sort(order[:, :kept], 1)
    theta, seen, share = (np.take_along_axis(each, times, 1) for each in (theta, seen, share))
    noise = random.uniform(0.0, 255.0, (count, kept, SIZE, SIZE))
    share = share[..., None, None]
    frames = (share * images(seen) + (1 - share) * noise).astype(np.uint8)
    return frames, np.stack([sine(theta), cosine(theta)], -1).astype(np.float32), times


def _block(split: str, seed: int, kept: int, block: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (films, F, 577): pixels and the frames since the one before, 1 at the first; and targets."""
    words = np.random.SeedSequence([seed, _STREAMS[split], block]).generate_state(4)
    frames, targets, times = films(BLOCK, kept, np.random.RandomState(words))
    since = np.diff(times, axis=1, prepend=times[:, :1] - 1).astype(np.uint8)
    return np.concatenate([frames.reshape(BLOCK, kept, -1), since[..., None]], -1), targets


def generate_split(
    split: str, count: int, kept: int, seed: int, jobs: int | None = 1, advance: Advance = silent
) -> Sequences:
    """The first `count` films of a split: tokens (total, 577) uint8 and labels (count, F, 2) float32."""
    blocks = range(-(-count // BLOCK))
    made = []
    if jobs == 1 or len(blocks) == 1:
        for block in blocks:
            made.append(_block(split, seed, kept, block))
            advance(min(BLOCK, count - block * BLOCK))
    else:
        with ProcessPoolExecutor(jobs) as pool:
            for block, found in enumerate(pool.map(partial(_block, split, seed, kept), blocks)):
                made.append(found)
                advance(min(BLOCK, count - block * BLOCK))
    inputs, targets = (np.concatenate(each)[:count] for each in zip(*made, strict=True))
    offsets = np.arange(count + 1, dtype=np.int64) * kept
    return Sequences(inputs.reshape(count * kept, -1), offsets, targets)
