"""BEATs: an audio transformer over 16 x 16 patches of a log-mel spectrogram.

Chen et al., "BEATs: Audio Pre-Training with Acoustic Tokenizers", ICML 2023. Same numbers as the official code
(microsoft/unilm, folder beats), arranged for speed: q, k, v and the gate of the position bias in one projection,
weight norm folded, the bias a cached table. On a processor a batch goes through each layer clip by clip, by weights
that were packed once for its matrix units: a clip stays in the cache, a layer's weights stay there for all clips, and
attention maps exist for a few heads at a time.

The arithmetic is chosen by the weights alone: a projection casts its input to the type of its weight. Norms,
residual, gate and softmax stay float32.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from echobank.models.beats.attention import Solo, attend
from echobank.models.beats.beats_config import BeatsConfig
from echobank.models.beats.position import PositionConvolution
from echobank.models.beats.projection import Projection
from echobank.models.device import bf16_pays, has_packed_products

MEAN, DEVIATION = 15.41663, 6.55582  # BEATs.py: fbank_mean, fbank_std; the input is (x - mean) / (2 std)

_BIAS_CACHE = 4  # lengths whose position bias is kept; 12 MB each for 10 s


class Layer(nn.Module):
    """One post-norm transformer layer with a gated relative position bias.

    `qkv` holds, below the rows of q, k and v, two rows per head that give the logits of the gate straight from x:
    the official gate is a linear map of q, here `gate_rows` [2, head size], so both maps are one.
    """

    def __init__(self, config: BeatsConfig) -> None:
        super().__init__()
        d = config.dimension
        self.heads = config.heads
        self.qkv = Projection(d, 3 * d + 2 * config.heads)
        self.out = Projection(d, d)
        self.gate_scale = nn.Parameter(torch.ones(config.heads))
        self.register_buffer("gate_rows", torch.zeros(2, d // config.heads))
        self.attention_norm = nn.LayerNorm(d)
        self.fc1 = Projection(d, config.hidden)
        self.fc2 = Projection(config.hidden, d)
        self.final_norm = nn.LayerNorm(d)
        self.activation = config.activation
        self.alpha = (2.0 * config.layers) ** 0.25 if config.deep_norm else 1.0

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Return float32[B, P, D] of x float32[B, P, D] and the position bias float32[H, P, P]."""
        x = self.attention_norm(self.alpha * x + self.out(attend(*self._split(self.qkv(x)), bias)))
        normed: Tensor = self.final_norm(self.alpha * x + self.fc2(self.fc1(x, self.activation)))
        return normed

    def each(self, clips: Sequence[Tensor], bias: Tensor) -> list[Tensor]:
        """Return the same of single clips float32[P, D], once the weights are packed."""
        projected = self.qkv.each(clips)
        attention = Solo(bias, projected[0].dtype, self.qkv.emulated)
        attended = [attention.attend(*self._split(clip)) for clip in projected]
        steps = zip(self.out.each(attended), clips, strict=True)
        clips = [self.attention_norm(torch.add(step, clip, alpha=self.alpha)) for step, clip in steps]
        steps = zip(self.fc2.each(self.fc1.each(clips, self.activation)), clips, strict=True)
        return [self.final_norm(torch.add(step, clip, alpha=self.alpha)) for step, clip in steps]

    def _split(self, projected: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return q, k, v [..., H, P, head size] and the gate of the bias, float32[..., H, P, 1]."""
        d, heads = self.out.in_features, self.heads
        parts = torch.split(projected, [d, d, d, 2 * heads], dim=-1)
        q, k, v, gate = (part.view(*part.shape[:-1], heads, -1).transpose(-3, -2) for part in parts)
        gate = gate.float().sigmoid()
        return q, k, v, gate[..., :1] * (gate[..., 1:] * self.gate_scale[:, None, None] - 1) + 2


class Beats(nn.Module):
    """The model: log-mel in, tokens of any layers out."""

    def __init__(self, config: BeatsConfig) -> None:
        super().__init__()
        self.config = config
        d = config.dimension
        self.patches = Projection(config.patch**2, config.embed, bias=False)
        self.patch_norm = nn.LayerNorm(config.embed)
        self.project = Projection(config.embed, d) if config.embed != d else nn.Identity()
        self.position = PositionConvolution(d, config.position_taps, config.position_groups)
        self.input_norm = nn.LayerNorm(d)
        self.position_table = nn.Parameter(torch.zeros(config.buckets, config.heads))
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.predictor = nn.Linear(d, config.classes) if config.classes else None
        self.packed = False
        self._biases: dict[tuple[int, torch.device], Tensor] = {}

    def forward(self, logmel: Tensor, layers: Sequence[int] | None = None) -> list[Tensor]:
        """Return the tokens float32[B, P, D] after each of `layers`, computing none beyond the deepest.

        Args:
            logmel: Log-mel before normalisation, float32[B, F, M]; F // 16 patches in time, the rest is dropped.
            layers: Indices from 1, in any order; None is the last. 0 is the input of the first layer.
        """
        wanted = (self.config.layers,) if layers is None else tuple(layers)
        x = self.embed(logmel)
        bias = self.position_bias(x.shape[1])
        found = {0: x}
        clips = list(x.unbind()) if self.packed else []
        for index, layer in enumerate(self.layers[: max(wanted)], start=1):
            assert isinstance(layer, Layer)
            if self.packed:
                clips = layer.each(clips, bias)
            elif x.is_cuda or x.requires_grad:
                x = layer(x, bias)
            else:
                x = torch.cat([layer(clip, bias) for clip in torch.split(x, 1)])
            if index in wanted:
                found[index] = torch.stack(clips) if self.packed else x
        return [found[index] for index in wanted]

    def embed(self, logmel: Tensor) -> Tensor:
        """Return the input of the first layer, float32[B, P, D]; token t * bands + band, band fastest."""
        side = self.config.patch
        b, frames, bins = logmel.shape
        x = (logmel[:, : frames // side * side] - MEAN) / (2 * DEVIATION)
        x = x.view(b, frames // side, side, bins // side, side).transpose(2, 3).reshape(b, -1, side * side)
        x = self.project(self.patch_norm(self.patches(x).float())).float()
        normed: Tensor = self.input_norm(x + functional.gelu(self.position(x)))
        return normed

    def position_bias(self, tokens: int) -> Tensor:
        """Return the relative position bias float32[H, P, P] of P tokens; kept for the latest few lengths."""
        if torch.is_grad_enabled():
            return self._position_bias(tokens)
        key = (tokens, self.position_table.device)
        bias = self._biases.pop(key, None)
        if bias is None:
            bias = self._position_bias(tokens)
        self._biases[key] = bias
        while len(self._biases) > _BIAS_CACHE:
            del self._biases[next(iter(self._biases))]
        return bias

    def _position_bias(self, tokens: int) -> Tensor:
        index = torch.arange(tokens, device=self.position_table.device)
        table = self.position_table[buckets(torch.arange(1 - tokens, tokens), self.config).to(index.device)]
        return table[index[None, :] - index[:, None] + tokens - 1].permute(2, 0, 1).contiguous()

    def probabilities(self, tokens: Tensor) -> Tensor:
        """Return class probabilities float32[B, classes] of last-layer tokens, for a fine-tuned file."""
        if self.predictor is None:
            raise ValueError("these weights have no predictor")
        logits: Tensor = self.predictor(tokens)
        return logits.mean(dim=1).sigmoid()

    def prepare(self, precision: str, *, processor: bool = False, compiled: bool = False) -> "Beats":
        """Bring float32 weights into the form that they are used in, and return self.

        Norms, gate scale and tables stay float32: rounding the norms alone would cost more than all the rest.

        Args:
            precision: "bf16" rounds the weights of matrix products, "fp32" leaves them as they are. On a processor that
                is slower in bfloat16 the rounded values are multiplied in float32, with the same result.
            processor: Whether the model will run on a processor: weights are then laid out for its matrix units, where
                oneDNN knows them, and the position convolution goes through spectra.
            compiled: Whether torch compiles the layers at first use. Those with packed weights are left as they are:
                compiling what lies between the products gained nothing.
        """
        self.packed = processor and has_packed_products()
        emulated = precision == "bf16" and processor and not bf16_pays()
        for module in self.layers.modules():
            if isinstance(module, Projection):
                if precision == "bf16":
                    module.round_weight(emulated)
                if self.packed:
                    module.pack()
        if processor:
            self.position.transform()
        elif precision == "bf16":
            self.position.to(torch.bfloat16)
        if compiled and not self.packed:
            for layer in self.layers:
                layer.compile()
        return self


def buckets(distance: Tensor, config: BeatsConfig) -> Tensor:
    """Return the bucket of each relative position (key minus query), int64.

    Exact up to a quarter of the buckets, logarithmic up to `max_distance`, each direction its own half (T5's rule, as
    the official backbone.py has it).
    """
    half = config.buckets // 2
    exact = half // 2
    size = distance.abs()
    growth = torch.log(size.clamp(min=1).float() / exact) / math.log(config.max_distance / exact)
    far = (exact + (growth * (half - exact)).long()).clamp(max=half - 1)
    return torch.where(size < exact, size, far) + half * (distance > 0)


def build(config: BeatsConfig, state: Mapping[str, Tensor]) -> Beats:
    """Return the model of a checkpoint's tensors (`checkpoint.check_state` has checked them), ready for inference.

    Tensors that are used as they are stay shared with `state`: loading takes little more memory than the file.
    """
    return _assemble(config, fold(config, state))


def unpack(model: Beats) -> Beats:
    """Return a model of the same float32 weights in their plain layout, which other programs read."""
    tensors = {name: t.to_dense() if t.is_mkldnn else t for name, t in model.state_dict().items()}
    return _assemble(model.config, tensors)


def _assemble(config: BeatsConfig, tensors: Mapping[str, Tensor]) -> Beats:
    with torch.device("meta"):
        model = Beats(config)
    model.load_state_dict(tensors, strict=True, assign=True)
    return model.eval().requires_grad_(False)


def fold(config: BeatsConfig, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of `Beats` made from those of a checkpoint; gradients go through."""
    tensors = {
        "patches.weight": state["patch_embedding.weight"].flatten(1),
        "position.weight": _normed(state["encoder.pos_conv.0.weight_g"], state["encoder.pos_conv.0.weight_v"]),
        "position.bias": state["encoder.pos_conv.0.bias"],
        "position_table": state["encoder.layers.0.self_attn.relative_attention_bias.weight"],
    }
    renamed = {"patch_norm": "layer_norm", "input_norm": "encoder.layer_norm"}
    if config.embed != config.dimension:
        renamed["project"] = "post_extract_proj"
    if config.classes:
        renamed["predictor"] = "predictor"
    for index in range(config.layers):
        ours, official = f"layers.{index}", f"encoder.layers.{index}"
        renamed |= {f"{ours}.{name}": f"{official}.{name}" for name in ("fc1", "fc2")}
        renamed[f"{ours}.out"] = f"{official}.self_attn.out_proj"
        renamed[f"{ours}.attention_norm"] = f"{official}.self_attn_layer_norm"
        renamed[f"{ours}.final_norm"] = f"{official}.final_layer_norm"
        fused = fuse(state, f"{official}.self_attn", config.heads)
        tensors |= {f"{ours}.{name}": tensor for name, tensor in fused.items()}
    for ours, official in renamed.items():
        tensors |= {f"{ours}.{part}": state[f"{official}.{part}"] for part in ("weight", "bias")}
    return tensors


def fuse(state: Mapping[str, Tensor], prefix: str, heads: int) -> dict[str, Tensor]:
    """Return `qkv`, `gate_rows` and `gate_scale` of a layer.

    The official gate sums rows 0 to 3 and 4 to 7 of `grep_linear(q)`; the sums come first here and run through the
    projection of q, so that the gate is two more rows per head.
    """
    rows = state[f"{prefix}.grep_linear.weight"].view(2, 4, -1).sum(1)
    offset = state[f"{prefix}.grep_linear.bias"].view(2, 4).sum(1)
    weight, bias = (state[f"{prefix}.q_proj.{part}"] for part in ("weight", "bias"))
    gate_weight = torch.einsum("ge,hed->hgd", rows, weight.view(heads, -1, weight.shape[1])).flatten(0, 1)
    gate_bias = (torch.einsum("ge,he->hg", rows, bias.view(heads, -1)) + offset).flatten()
    others = [[state[f"{prefix}.{name}_proj.{part}"] for name in "kv"] for part in ("weight", "bias")]
    return {
        "qkv.weight": torch.cat([weight, *others[0], gate_weight]),
        "qkv.bias": torch.cat([bias, *others[1], gate_bias]),
        "gate_rows": rows,
        "gate_scale": state[f"{prefix}.grep_a"].flatten(),
    }


def _normed(g: Tensor, v: Tensor) -> Tensor:
    """Return the kernel g v / |v|, the norm taken for each tap (weight norm over dimension 2)."""
    kernel: Tensor = g * v / torch.linalg.vector_norm(v, dim=(0, 1), keepdim=True)
    return kernel
