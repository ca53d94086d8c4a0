"""SeqBoat in PyTorch; `jax.py` beside it is its twin.

m = silu(mixer(x)),  [u, h'] = m W + b,  p = softmax(u / T)                      (arXiv 2306.11197, sections 3 and 4)
token t is active where p_t1 > p_t0, then c_t = p_t1, else c_t = 0; of the active tokens, put together:
[z, r, v] = silu(m W_m + b_m),  q = z gamma_q + beta_q,  k = z gamma_k + beta_k
h = (r f(q k^T / tau + bias) v) W_h + b_h
y = silu(h' + c h + x), h put back where its tokens were
"""

from __future__ import annotations

from functools import partial

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Integer
from torch import Tensor, nn

from implementations.common.config import check_state, require_segment, require_state
from implementations.common.initializers import Keys
from implementations.common.shards.torch import batch_max
from implementations.common.torch import (
    Linear,
    WeightDropout,
    dropout_of,
    ending,
    norm_of,
    parameter,
    product,
    trailing,
)
from implementations.ema.torch import MultiHeadEMA
from implementations.mega.torch import laplace, relu2
from implementations.ops.attention.torch import diagonals, turned
from implementations.ops.routing.torch import at_capacity, compress, extract, order
from implementations.s4.torch import S4Bank
from implementations.seqboat.config import MASKED, SeqBoatConfig, initial_attention, initial_kernel

State = dict[str, Tensor]
Seed = Integer[Tensor, ""] | int | None


def linear(in_features: int, out_features: int, keys: Keys) -> Linear:
    """A linear map with SeqBoat's initial values."""
    found = Linear(in_features, out_features, keys)
    found.kernel = parameter(keys, initial_kernel(keys, in_features, out_features))
    return found


class SeqBoatLayer(nn.Module):
    """A state-space layer, and gated attention among the tokens that are activated: (B, L, D) -> (B, L, D)."""

    def __init__(self, config: SeqBoatConfig, keys: Keys) -> None:
        super().__init__()
        self.config = config
        d_model, z, h = config.d_model, config.query_size, config.value_size
        self.norm = norm_of(config.norm, d_model, config.bn_momentum, keys.child("norm"))
        if config.mixer == "ema":
            self.mixer = MultiHeadEMA(config.ema, keys.child("mixer"))
        else:
            self.mixer = S4Bank(config.s4d, keys.child("mixer"))
        self.hx_proj = linear(d_model, d_model if config.always_act else 2 + d_model, keys.child("hx_proj"))
        self.mx_proj = linear(d_model, z + 2 * h, keys.child("mx_proj"))
        self.h_proj = linear(h, d_model, keys.child("h_proj"))
        values = initial_attention(config, keys)
        self.gamma = parameter(keys, values["gamma"])
        self.beta = parameter(keys, values["beta"])
        if config.bias != "rotary":
            self.table = parameter(keys, values["table"])
        if not config.always_act:
            self.log_temperature = parameter(keys, values["log_temperature"])
        self.dropout1 = dropout_of(config.dropout, keys.child("dropout1"), config.feature_dropout)
        self.dropout2 = dropout_of(config.dropout, keys.child("dropout2"), config.feature_dropout)
        self.hidden_dropout = dropout_of(config.hidden_dropout, keys.child("hidden_dropout"), config.feature_dropout)
        self.attention_dropout = WeightDropout(config.attention_dropout, keys.child("attention_dropout"))

    def initial_state(self, batch: int) -> State | None:
        """The state before the first token, or None where the layer cannot stream.

        "mixer" is the mixer's. With a window "keys" (B, W, Z), "values" (B, W, V), "active" (B, W) and "age" (B, W) are
        those of the last W active tokens, newest last, and how many positions ago each was; without one, those of every
        position so far, inactive ones zero, and no age.
        """
        config = self.config
        mixer = self.mixer.initial_state(batch)
        if mixer is None or not config.causal:
            return None
        return {"mixer": mixer, **self._nothing(batch, config.window or 0)}

    def _nothing(self, batch, kept):
        """A memory without tokens."""
        config, like = self.config, self.gamma
        memory = {
            "keys": like.new_zeros((batch, kept, config.query_size)),
            "values": like.new_zeros((batch, kept, config.value_size)),
            "active": like.new_zeros((batch, kept), dtype=torch.bool),
        }
        return memory | ({} if config.window is None else {"age": like.new_zeros((batch, kept), dtype=torch.int32)})

    def reset(self, state: State | None, start: Bool[Tensor, " B"]) -> State:
        """The state with the rows emptied where `start` is True: a document begins there."""
        state = require_state(state, self.config)
        empty = {}
        for name, value in state.items():
            empty[name] = torch.where(start.reshape(-1, *[1] * (value.ndim - 1)), torch.zeros_like(value), value)
        return empty

    def forward(
        self,
        x: Float[Tensor, "B L D"],
        state: State | None = None,
        mask: Bool[Tensor, "B L"] | None = None,
        *,
        training: bool = False,
        dropout_seed: Seed = None,
        return_activity: bool = False,
    ) -> tuple[Float[Tensor, "B L D"], State | None] | tuple[Float[Tensor, "B L D"], State | None, Float[Tensor, " B"]]:
        """Map a segment of any length, one token included, from a state to outputs and the state after it.

        `mask` is True at genuine positions; others are never active, and at the end of the segment they leave no trace
        in the state. `return_activity` adds a third output, the share of each row's genuine positions that are active.
        """
        config = self.config
        require_segment(x.shape, config.d_model, mask)
        check_state(self, state, x.shape[0])
        genuine = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if mask is None else mask
        counted = mask if config.mask_padding else None
        if counted is not None:
            x = torch.where(counted[..., None], x, 0.0)
        skip = x
        if config.prenorm:
            x = self.norm(x, counted, training)
        m, mixer = self._mix(x, None if state is None else state["mixer"], mask)
        m = self.dropout1(nn.functional.silu(m), dropout_seed, training)
        hx = self.hx_proj(m)
        active, gate = genuine, None
        if not config.always_act:
            active, gate = self.configure(hx[..., :2], genuine)
            hx = hx[..., 2:]
        route = order(self._selected(active))
        memory = None if state is None else {name: value for name, value in state.items() if name != "mixer"}
        padding = None if mask is None else trailing(mask)
        work = partial(self._active, m, active, route, padding, memory, training, dropout_seed)
        h, memory = at_capacity(work, route[1], x.shape[1], 0 if config.always_act else config.capacities)
        if gate is not None:
            h = gate[..., None] * h
        x = hx + h if config.bidirectional else self.dropout2(hx + h, dropout_seed, training)
        x = nn.functional.silu(x + skip)
        if not config.prenorm:
            x = self.norm(x, counted, training)
        state = {"mixer": mixer, **memory} if config.causal and mixer is not None else None
        if return_activity:
            return x, state, active.sum(1).to(x.dtype) / torch.clamp(genuine.sum(1), min=1).to(x.dtype)
        return x, state

    def _mix(self, x, state, mask):
        """The state-space layer below."""
        y, state = self.mixer(x, state, mask)
        return (y if self.config.mixer == "ema" else y[:, :, 0]), state

    def configure(
        self, logits: Float[Tensor, "B L 2"], genuine: Bool[Tensor, "B L"]
    ) -> tuple[Bool[Tensor, "B L"], Float[Tensor, "B L"]]:
        """The latent configurator: which tokens are active, and their confidence, zero for the others."""
        logit = (logits[..., 1] - logits[..., 0] - self.config.inactive_bias) * torch.exp(-self.log_temperature)
        active = (logit > 0) & genuine
        return active, torch.where(active, torch.sigmoid(logit), 0.0)

    def _selected(self, active):
        """The tokens that attention gets: the active ones; or all, where the authors compress nothing."""
        config, length = self.config, active.shape[1]
        if config.always_act and not config.mask_padding:
            return torch.ones_like(active)
        if config.density_threshold is None:
            return active
        return active | (batch_max(active.sum(1).max()) >= config.dense_count(length))

    def _active(self, m, active, route, padding, state, training, dropout_seed, capacity):
        """Attention among the selected tokens, put back in their places, and the memory after them."""
        config, (places, count) = self.config, route
        gamma, beta = self.gamma, self.beta
        cuts = [config.query_size, config.query_size + config.value_size]
        z, r, v = torch.tensor_split(nn.functional.silu(self.mx_proj(compress(m, places, count, capacity))), cuts, -1)
        q, k = z * gamma[0] + beta[0], z * gamma[1] + beta[1]
        v = self.hidden_dropout(v, dropout_seed, training)
        active = compress(active, places, count, capacity)
        new = {"keys": k, "values": v, "active": active, "place": places[:, :capacity]}
        mix = self._whole if config.window is None else self._windows
        a, memory = mix(q, new, route, padding, state, training, dropout_seed)
        h = self.h_proj(a * r)
        if config.bidirectional:
            h = self.dropout2(h, dropout_seed, training)
        return extract(h, places, count), memory

    def _windows(self, q, new, route, padding, state, training, dropout_seed):
        """Blocks of w queries and the blocks of keys around them; the memory is the last w tokens."""
        config, capacity, length = self.config, q.shape[1], route[0].shape[1]
        w, around = config.block, config.around
        blocks, size = -(-capacity // w), min(w, capacity)
        before = self._nothing(q.shape[0], w) if state is None else state
        before = {**before, "place": -before["age"].to(new["place"].dtype)}
        found = {name: torch.cat([before[name], value], 1) for name, value in new.items()}
        after = blocks * w - capacity + (around - 2) * w
        keys = {name: nn.functional.pad(value, (0, 0) * (value.ndim - 2) + (0, after)) for name, value in found.items()}
        if config.masked_keys == "leak":
            keys["values"] = self._beyond(keys["values"], route)
        if config.bias == "rotary":
            q, keys["keys"] = turned(q, new["place"]), turned(keys["keys"], keys["place"])
        keys = {name: self._neighbours(value, blocks) for name, value in keys.items()}
        q, place = (self._blocks(value, blocks, size) for value in (q, new["place"]))
        distance = torch.arange(around * w, device=q.device) - w - torch.arange(size, device=q.device)[:, None]
        near = torch.abs(distance) <= w
        near = near if config.bidirectional else near & (distance <= 0)
        if config.bias == "local":
            first = config.distances - size
            bias = diagonals(self.table[first : first + size + around * w - 1], size)
        else:
            bias = self._simple(place, keys["place"])
        count = 2 * w if config.bidirectional else w
        a = self._attend(q, keys, near & keys["active"][:, :, None, :], count, bias, training, dropout_seed)
        a = rearrange(a, "b c t v -> b (c t) v")[:, :capacity]
        left = length if padding is None else length - padding[:, None]
        return a, self._latest(found, route[1], left) if config.causal else {}

    def _whole(self, q, new, route, padding, state, training, dropout_seed):
        """Attention to all active tokens; the memory is every position so far."""
        config, capacity = self.config, q.shape[1]
        before = self._nothing(q.shape[0], 0) if state is None else state
        past = torch.arange(-before["keys"].shape[1], 0, device=q.device)
        before = {**before, "place": past.expand(before["active"].shape)}
        keys = {name: torch.cat([before[name], value], 1) for name, value in new.items()}
        if config.bias == "rotary":
            q, keys["keys"] = turned(q, new["place"]), turned(keys["keys"], keys["place"])
        keys = {name: value[:, None] for name, value in keys.items()}
        allowed = keys["active"][:, :, None, :]
        if config.bidirectional:
            count = torch.clamp(allowed.sum(-1, keepdim=True), min=1)
        else:
            slots = torch.arange(capacity, device=q.device)
            count = (before["active"].sum(1)[:, None] + slots + 1)[:, None, :, None]
            allowed = allowed & (torch.arange(-past.shape[0], capacity, device=q.device) <= slots[:, None])
        bias = self._simple(new["place"][:, None], keys["place"])
        a = self._attend(q[:, None], keys, allowed, count, bias, training, dropout_seed)[:, 0]
        if not config.causal:
            return a, {}
        placed = {name: extract(new[name], route[0], route[1]) for name in ("keys", "values", "active")}
        after = {name: torch.cat([before[name], value], 1) for name, value in placed.items()}
        return a, {name: ending(value, padding, value.shape[1]) for name, value in after.items()}

    def _attend(self, q, keys, allowed, count, bias, training, dropout_seed):
        """Queries (B, C, I, Z) and keys (B, C, J, Z) to outputs (B, C, I, V)."""
        config = self.config
        scores = product("bciz,bcjz->bcij", q, keys["keys"])
        if config.attention == "softmax":
            scores = scores * config.query_size**-0.5 + bias
            weights = torch.softmax(torch.where(allowed, scores, MASKED), -1)
        else:
            function = relu2 if config.attention == "relu2" else laplace
            weights = function(torch.where(allowed, scores / count + bias, 0.0))
        if config.masked_keys == "none":
            weights = torch.where(allowed, weights, 0.0)
        if training and config.attention_dropout > 0:
            blocks = weights.shape[1]
            weights = rearrange(weights, "b c i j -> b (c i) j")
            weights = self.attention_dropout(weights, dropout_seed, training)
            weights = rearrange(weights, "b (c i) j -> b c i j", c=blocks)
        return product("bcij,bcjv->bciv", weights, keys["values"])

    def _simple(self, queries, keys):
        """The bias of the distance between original positions, or nothing where positions turn the keys."""
        if self.config.bias == "rotary":
            return 0.0
        furthest = self.config.distances - 1
        distance = torch.clamp(keys[..., None, :] - queries[..., :, None], -furthest, furthest)
        # Where few tokens are active most distances are the furthest, and the gradient of `table[...]` adds them on a
        # GPU one by one; that of an embedding does not.
        return nn.functional.embedding(furthest + distance, self.table[:, None])[..., 0]

    def _blocks(self, x, blocks, size):
        """(B, C, ...) in blocks of `size`, the last filled up with zeros."""
        missing = blocks * size - x.shape[1]
        x = nn.functional.pad(x, (0, 0) * (x.ndim - 2) + (0, missing))
        return x.reshape(x.shape[0], blocks, size, *x.shape[2:])

    def _neighbours(self, x, blocks):
        """Each block of w behind the one before it and, both sides, before the one after it."""
        x = x.reshape(x.shape[0], -1, self.config.block, *x.shape[2:])
        return torch.cat([x[:, i : i + blocks] for i in range(self.config.around)], 2)

    def _beyond(self, values, route):
        """The authors' values of keys that are none: zero behind the last token, -1 outside of the blocks in use."""
        w = self.config.block
        used = torch.clamp(batch_max(route[1].max()), min=1)
        slot = torch.arange(values.shape[1], device=values.device)[:, None] - w
        values = torch.where(slot < used, values, 0.0)
        return torch.where((slot < 0) | (slot >= -(-used // w) * w), -1.0, values)

    def _latest(self, found, count, length):
        """The last w tokens of each row, and how many positions they lie before the next segment."""
        index = count[:, None] + torch.arange(self.config.block, device=count.device)
        rows = torch.arange(index.shape[0], device=count.device)[:, None]
        kept = {name: value[rows, index] for name, value in found.items()}
        active = kept["active"]
        return {
            "keys": torch.where(active[..., None], kept["keys"], 0.0),
            "values": torch.where(active[..., None], kept["values"], 0.0),
            "active": active,
            "age": torch.where(active, length - kept["place"], 0).to(torch.int32),
        }
