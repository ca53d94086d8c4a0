"""Every default on which Flax and PyTorch disagree, named once.

Axis letters, for the whole project: B batch, L length, D model width, H heads, K head width, P state size of a MIMO
SSM, N state size of a SISO SSM, W window or block length, S state vectors or context states, V vocabulary, C classes.

Complex quantities are stored and computed as real arrays whose last axis of length 2 is (real, imaginary): parameters
then have one dtype in both frameworks and the compilers of both fuse the arithmetic, which they do not for complex.
"""

from typing import Literal

BATCH_NORM_EPSILON = 1e-5
"""Flax's default; PyTorch's is the same."""

LAYER_NORM_EPSILON = 1e-6
"""Flax's default; PyTorch's is 1e-5."""

TORCH_LAYER_NORM_EPSILON = 1e-5
"""PyTorch's default, which the code of Mega and SeqBoat keeps for all its norms."""

BATCH_NORM_MOMENTUM = 0.95
"""Share of the OLD running statistic that an update keeps (Flax's sense; PyTorch's `momentum` is one minus this)."""

RMS_NORM_EPSILON = 1e-6
"""Under the root of the mean square (meliad, T5); PyTorch's default is the machine epsilon of the input."""

GELU_APPROXIMATION = "tanh"
"""Flax's default; PyTorch's is the exact error function."""

ADAM_B1, ADAM_B2, ADAM_EPSILON = 0.9, 0.999, 1e-8
"""The epsilon stands outside the square root; weight decay is decoupled: p -= rate * (adam + weight_decay * p)."""

EIGENVALUE_CLIP = -1e-4
"""Upper bound of the real part of an eigenvalue where `clip_eigs` is set."""

Activation = Literal["relu", "gelu", "gelu_exact", "silu"]
"""Pointwise functions of feed-forward layers; "gelu" is the form of `GELU_APPROXIMATION`."""

MatmulPrecision = Literal["float32", "tf32"]
MATMUL_PRECISION: MatmulPrecision = "float32"
"""PyTorch's default on a GPU; JAX's default there is tf32."""

ComputeDtype = Literal["float32", "bfloat16"]
COMPUTE_DTYPE: ComputeDtype = "float32"
"""What linear maps and attention round the operands and results of their products to. "bfloat16" changes nothing else:
parameters, states, recurrences and kernels of SSMs, norms, softmaxes, sums of residuals and the output's logits stay in
the dtype of the parameters."""
