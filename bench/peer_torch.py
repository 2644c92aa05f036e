"""The programs of the benchmarks in PyTorch, eager or compiled."""
import math
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

from peer_shapes import ATTENTION, EPS, GAIN, HUBER, SIGMA_DATA, SIGMA_MIN
from peer_shapes import groups, index_of, karras, network_sizes, plan, unet_sizes

VERSION = "torch " + torch.__version__
fused = F.scaled_dot_product_attention  # has no forward mode


def unfused(q, k, v):
    return torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]), -1) @ v


# ---- the demo's U-Net: images are N, C, H, W ----


def conv(a, b, size=3):
    return nn.Conv2d(a, b, size, padding=size // 2)


def norm(c):
    return nn.GroupNorm(groups(c), c, eps=EPS)


class Block(nn.Module):
    def __init__(self, a, b, resample, attends, width, attend):
        super().__init__()
        self.resample, self.attend = resample, attend
        self.norm0, self.conv0, self.affine = norm(a), conv(a, b), nn.Linear(width, 2 * b)
        self.norm1, self.conv1 = norm(b), conv(b, b)
        self.skip = conv(a, b, 1) if a != b or resample else nn.Identity()
        self.mix = nn.ModuleList([norm(b), nn.Linear(b, 3 * b), nn.Linear(b, b)]) if attends else None

    def resize(self, x):
        if self.resample == "down":
            return F.avg_pool2d(x, 2)
        return F.interpolate(x, scale_factor=2, mode="nearest") if self.resample == "up" else x

    def forward(self, x, emb):
        h = self.conv0(self.resize(F.silu(self.norm0(x))))
        scale, shift = self.affine(emb)[:, :, None, None].chunk(2, 1)
        h = self.conv1(F.silu(torch.addcmul(shift, self.norm1(h), scale + 1)))
        x = (h + self.skip(self.resize(x))) * GAIN
        if self.mix is None:
            return x
        n, c, height, width = x.shape
        tokens = self.mix[0](x).permute(0, 2, 3, 1).reshape(n, height * width, c)
        q, k, v = self.mix[1](tokens).reshape(n, 1, height * width, c, 3).unbind(-1)
        y = self.mix[2](self.attend(q, k, v).reshape(n, height * width, c))
        return (x + y.reshape(n, height, width, c).permute(0, 3, 1, 2)) * GAIN


class Unet(nn.Module):
    def __init__(self, s, attend):
        super().__init__()
        self.s = s
        base, channels = s["base"], s["patch"] ** 2
        parts = plan(s)
        self.first, self.second = nn.Linear(base, s["width"]), nn.Linear(s["width"], s["width"])
        self.table = nn.Embedding(s["classes"], base)
        self.enter, self.leave = conv(channels, base), conv(s["mult"][0] * base, channels)
        self.norm = norm(s["mult"][0] * base)
        blocks = lambda part: nn.ModuleList([Block(*p[:4], s["width"], attend) for p in part])
        self.down, self.middle, self.up = map(blocks, parts)
        self.joins = [p[4] for p in parts[2]]

    def forward(self, x, c, label):
        half = self.s["base"] // 2
        angle = c[:, None] * torch.exp(math.log(1e-4) / (half - 1) * torch.arange(half))
        emb = torch.cat([angle.sin(), angle.cos()], 1) + self.table(label)
        emb = F.silu(self.second(F.silu(self.first(emb))))
        h = self.enter(F.pixel_unshuffle(x, self.s["patch"]))
        skips = [h]
        for block in self.down:
            h = block(h, emb)
            skips.append(h)
        for block in self.middle:
            h = block(h, emb)
        for block, joins in zip(self.up, self.joins):
            h = block(torch.cat([h, skips.pop()], 1) if joins else h, emb)
        return F.pixel_shuffle(self.leave(F.silu(self.norm(h))), self.s["patch"])


# ---- the diffusion transformer ----


class DitBlock(nn.Module):
    def __init__(self, s, attend):
        super().__init__()
        c = s["width"]
        self.heads, self.attend = s["heads"], attend
        self.modulation, self.qkv, self.out = nn.Linear(c, 6 * c), nn.Linear(c, 3 * c), nn.Linear(c, c)
        self.first, self.second = nn.Linear(c, s["ratio"] * c), nn.Linear(s["ratio"] * c, c)

    def mix(self, x):
        n, t, c = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        return self.out(self.attend(q, k, v).transpose(1, 2).reshape(n, t, c))

    def forward(self, x, emb):
        m = self.modulation(F.silu(emb))[:, None].chunk(6, -1)
        h = x + m[2] * self.mix(modulated(x, m[0], m[1]))
        return h + m[5] * self.second(F.gelu(self.first(modulated(h, m[3], m[4])), approximate="tanh"))


def modulated(x, shift, scale):
    return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:], eps=EPS), scale + 1)


def positional(t, size):
    angle = t[:, None] * torch.exp(math.log(1e-4) / (size // 2) * torch.arange(size // 2))
    return torch.cat([angle.cos(), angle.sin()], 1)


class Dit(nn.Module):
    def __init__(self, s, attend):
        super().__init__()
        self.s, c, channels = s, s["width"], s["patch"] ** 2 * s["image"][2]
        self.first, self.second = nn.Linear(s["features"], c), nn.Linear(c, c)
        self.table = nn.Embedding(s["classes"], c)
        self.enter, self.leave = nn.Linear(channels, c), nn.Linear(c, channels)
        self.blocks = nn.ModuleList([DitBlock(s, attend) for _ in range(s["depth"])])
        self.modulation = nn.Linear(c, 2 * c)
        rows, columns = (torch.arange(n // s["patch"]) for n in s["image"][:2])
        row, column = positional(rows, c // 2)[:, None], positional(columns, c // 2)[None]
        places = torch.cat([row.expand(-1, len(columns), -1), column.expand(len(rows), -1, -1)], -1)
        self.register_buffer("places", places.reshape(-1, c))

    def forward(self, x, c, label):
        emb = self.second(F.silu(self.first(positional(c, self.s["features"])))) + self.table(label)
        patches = F.pixel_unshuffle(x, self.s["patch"])
        h = self.enter(patches.flatten(2).transpose(1, 2)) + self.places
        for block in self.blocks:
            h = block(h, emb)
        m = self.modulation(F.silu(emb))[:, None].chunk(2, -1)
        y = self.leave(modulated(h, m[0], m[1]))
        return F.pixel_shuffle(y.transpose(1, 2).reshape(patches.shape), self.s["patch"])


# ---- a network's value, its tangent by image and noise level, and its gradient by all weights ----


def first_number(tree):
    while isinstance(tree, (tuple, list)):
        tree = tree[0]
    return float(tree.detach().flatten()[0])


def network(what, wrap):
    name, _, form = what.partition("_")
    s = network_sizes(name)
    rows, columns, channels = s["image"]
    new = lambda: {"unet": Unet, "dit": Dit}[name](s, unfused if form == "jvp" else fused).requires_grad_(form == "grad")
    label = torch.randint(0, s["classes"], (s["batch"],))
    some = lambda *shape: torch.rand(s["batch"], *shape) * 2 - 1
    c, dc = some(), some()

    def make(layout):
        net = new().to(memory_format=layout)
        x, dx = (some(channels, rows, columns).contiguous(memory_format=layout) for _ in range(2))
        value = wrap(lambda x, c: net(x, c, label))
        both = wrap(lambda x, c, dx, dc: torch.func.jvp(lambda x, c: net(x, c, label), (x, c), (dx, dc)))
        return {"forward": lambda: first_number(value(x, c)), "jvp": lambda: first_number(both(x, c, dx, dc)[::-1]),
                "grad": lambda: first_number(torch.autograd.grad(value(x, c), list(net.parameters()), dx))}[form]

    return quicker(make) if name == "unet" else make(torch.contiguous_format), weight_count(new())


def weight_count(net):
    return sum(p.numel() for p in net.parameters())


def quicker(make):
    """A step with the layout of images that suits it."""
    best, least = None, math.inf
    for layout in (torch.contiguous_format, torch.channels_last):
        try:
            step = make(layout)
            step(), step()
        except RuntimeError as error:  # forward mode of group norm has one layout only
            reason = error
            continue
        taken = min(seconds(step) for _ in range(3))
        if taken < least:
            best, least = step, taken
    if best is None:
        raise reason
    return best


def seconds(step):
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


# ---- attention by itself ----


def attention(what, wrap):
    q, k, v, dq, dk, dv = (torch.rand(1, *ATTENTION) * 2 - 1 for _ in range(6))
    inputs = [x.requires_grad_(what == "attention_grad") for x in (q, k, v)]
    value = wrap(fused)
    both = wrap(lambda q, k, v, dq, dk, dv: torch.func.jvp(unfused, (q, k, v), (dq, dk, dv)))
    run = {"attention_forward": lambda: value(*inputs),
           "attention_grad": lambda: torch.autograd.grad(value(*inputs), inputs, dq),
           "attention_jvp": lambda: both(q, k, v, dq, dk, dv)[::-1]}[what]
    return lambda: first_number(run()), 0


# ---- the demo's training step ----


def training_step():
    s = unet_sizes()

    def make(layout):
        net = Unet(s, fused).to(memory_format=layout)
        average = [p.detach().clone() for p in net.parameters()]
        optimiser = torch.optim.RAdam(net.parameters(), lr=1e-3, foreach=True)
        x0 = torch.rand(s["batch"], 1, 28, 28)
        label = torch.randint(0, s["classes"], (s["batch"],))

        def f(x, t):
            t4 = t[:, None, None, None]
            total = t4**2 + SIGMA_DATA**2
            c_skip = SIGMA_DATA**2 / ((t4 - SIGMA_MIN) ** 2 + SIGMA_DATA**2)
            c_out = SIGMA_DATA * (t4 - SIGMA_MIN) / total.sqrt()
            return c_skip * x + c_out * net(x * total.rsqrt(), t.log() / 4, label)

        def step():
            i = index_of(torch.rand(s["batch"]), torch.erfinv, torch.exp, torch.floor, torch.clip)
            low, high = karras(i), karras(i + 1)
            z = torch.randn_like(x0)
            student = f(x0 + high[:, None, None, None] * z, high)
            with torch.no_grad():
                teacher = f(x0 + low[:, None, None, None] * z, low)
            distance = ((student - teacher) ** 2).sum((1, 2, 3))
            loss = (((distance + HUBER**2).sqrt() - HUBER) / (high - low)).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            torch._foreach_lerp_(average, [p.detach() for p in net.parameters()], 0.002)
            return float(loss.detach())

        return step

    return quicker(make), weight_count(Unet(s, fused))


def prepare(what, threads, compiled):
    """A step, and how many weights its network has."""
    torch.set_num_threads(threads)
    if what == "train_step_ict":
        return training_step()
    wrap = torch.compile if compiled else lambda f: f
    return (attention if what.startswith("attention") else network)(what, wrap)
