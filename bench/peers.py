"""The demo's training step (examples/ict.cm) and attention (bench/kernels.cm) in PyTorch and in JAX, for ./bootstrap bench.

    python peers.py pytorch_eager|jax_jit train_step_ict|attention_forward|attention_jvp|attention_grad ICT_CM THREADS

Prints the versions when warm; then, for each line read, does a step and prints how many milliseconds it took.  The network, the
batch and the optimiser are those of the .cm file: sizes are read from it.  Weights are drawn, not loaded: the time is the same."""
import math
import os
import re
import sys
import time

SIGMA_MIN, SIGMA_MAX, RHO, SIGMA_DATA = 0.002, 80.0, 7.0, 0.5
MEAN, STD, LEVELS = -1.1, 2.0, 11  # of the levels' logarithm; levels at the start of a run
HUBER = 0.00054 * 28  # 0.00054 sqrt(784)
GAIN = math.sqrt(0.5)
EPS = 1e-6


def sizes(path):
    text = open(path, encoding="utf-8").read()
    number = lambda name: int(re.search(rf"\b{name} = (\d+)", text).group(1))
    numbers = lambda name: [int(n) for n in re.search(rf"\b{name} = \[([^\]]*)\]", text).group(1).split(",")]
    return dict(base=number("base"), mult=numbers("mult"), blocks=number("blocks"), attend=numbers("attend"),
                classes=number("classes"), patch=number("patch"), width=number("width"), batch=number("batch"))


def plan(s):
    """The blocks of DDPM++ in order: (from, to, resample, attends, joins), for the way down, the bottom and the way up."""
    down, up, now, skips = [], [], s["base"], [s["base"]]
    for level, m in enumerate(s["mult"]):
        if level:
            down.append((now, now, "down", False, False))
            skips.append(now)
        for _ in range(s["blocks"]):
            down.append((now, m * s["base"], None, level in s["attend"], False))
            now = m * s["base"]
            skips.append(now)
    middle = [(now, now, None, True, False), (now, now, None, False, False)]
    for level, m in reversed(list(enumerate(s["mult"]))):
        if level < len(s["mult"]) - 1:
            up.append((now, now, "up", False, False))
        for i in range(s["blocks"] + 1):
            up.append((now + skips.pop(), m * s["base"], None, level in s["attend"] and i == s["blocks"], True))
            now = m * s["base"]
    return down, middle, up


def groups(channels):
    return max(1, min(32, channels // 4))


def karras(i):
    low, high = SIGMA_MIN ** (1 / RHO), SIGMA_MAX ** (1 / RHO)
    return (low + i / (LEVELS - 1) * (high - low)) ** RHO


def index_of(u, erfinv, exp, floor, clip):
    """The lower index of a pair of levels, whose logarithm is normal, cut to the grid."""
    scale = math.sqrt(2) * STD
    a, b = (math.erf((math.log(level) - MEAN) / scale) for level in (SIGMA_MIN, SIGMA_MAX))
    level = exp(MEAN + scale * erfinv(a + u * (b - a)))
    low, high = SIGMA_MIN ** (1 / RHO), SIGMA_MAX ** (1 / RHO)
    return clip(floor((level ** (1 / RHO) - low) / (high - low) * (LEVELS - 1)), 0, LEVELS - 2)


# ---- PyTorch ----


def pytorch_eager(s, threads):
    import torch
    import torch.nn as nn
    import torch.nn.functional as F

    torch.set_num_threads(threads)
    conv = lambda a, b, size=3: nn.Conv2d(a, b, size, padding=size // 2)
    norm = lambda c: nn.GroupNorm(groups(c), c, eps=EPS)

    class Block(nn.Module):
        def __init__(self, a, b, resample, attends):
            super().__init__()
            self.resample = resample
            self.norm0, self.conv0, self.affine = norm(a), conv(a, b), nn.Linear(s["width"], 2 * b)
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
            y = self.mix[2](F.scaled_dot_product_attention(q, k, v).reshape(n, height * width, c))
            return (y.reshape(n, height, width, c).permute(0, 3, 1, 2) + x) * GAIN

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            base, channels = s["base"], s["patch"] ** 2
            parts = plan(s)
            self.first, self.second = nn.Linear(base, s["width"]), nn.Linear(s["width"], s["width"])
            self.table = nn.Embedding(s["classes"], base)
            self.enter, self.leave = conv(channels, base), conv(s["mult"][0] * base, channels)
            self.norm = norm(s["mult"][0] * base)
            self.down, self.middle, self.up = (nn.ModuleList([Block(*p[:4]) for p in part]) for part in parts)
            self.joins = [p[4] for p in parts[2]]

        def forward(self, x, c, label):
            half = s["base"] // 2
            angle = c[:, None] * torch.exp(math.log(1e-4) / (half - 1) * torch.arange(half))
            emb = torch.cat([angle.sin(), angle.cos()], 1) + self.table(label)
            emb = F.silu(self.second(F.silu(self.first(emb))))
            h = self.enter(F.pixel_unshuffle(x, s["patch"]))
            skips = [h]
            for block in self.down:
                h = block(h, emb)
                skips.append(h)
            for block in self.middle:
                h = block(h, emb)
            for block, joins in zip(self.up, self.joins):
                h = block(torch.cat([h, skips.pop()], 1) if joins else h, emb)
            return F.pixel_shuffle(self.leave(F.silu(self.norm(h))), s["patch"])

    def make(layout):
        net = Net().to(memory_format=layout)
        average = [p.detach().clone() for p in net.parameters()]
        optimiser = torch.optim.RAdam(net.parameters(), lr=1e-3, foreach=True)
        x0 = torch.rand(s["batch"], 1, 28, 28)
        label = torch.randint(0, s["classes"], (s["batch"],))

        def f(x, t):
            t4 = t[:, None, None, None]
            total = t4**2 + SIGMA_DATA**2
            c_skip, c_out = SIGMA_DATA**2 / ((t4 - SIGMA_MIN) ** 2 + SIGMA_DATA**2), SIGMA_DATA * (t4 - SIGMA_MIN) / total.sqrt()
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

    best, least = None, None
    for layout in (torch.contiguous_format, torch.channels_last):  # the quicker one counts
        step = make(layout)
        step(), step()
        taken = min(timed(step) for _ in range(3))
        if least is None or taken < least:
            best, least = step, taken
    return best, "torch " + torch.__version__


# ---- JAX ----


def jax_jit(s, threads):
    import jax
    import jax.numpy as jnp
    from jax import lax
    from jax.nn import silu

    keys = iter(jax.random.split(jax.random.PRNGKey(0), 4096))
    dense = lambda a, b: {"w": jax.random.normal(next(keys), (a, b)) / math.sqrt(a), "b": jnp.zeros(b)}
    conv = lambda a, b, k=3: {"w": jax.random.normal(next(keys), (k, k, a, b)) / math.sqrt(k * k * a), "b": jnp.zeros(b)}
    norm = lambda c: {"scale": jnp.ones(c), "shift": jnp.zeros(c)}
    down, middle, up = plan(s)

    def make_block(a, b, resample, attends, joins):
        p = dict(norm0=norm(a), conv0=conv(a, b), affine=dense(s["width"], 2 * b), norm1=norm(b), conv1=conv(b, b))
        if a != b or resample:
            p["skip"] = conv(a, b, 1)
        if attends:
            p["mix"] = dict(norm=norm(b), qkv=dense(b, 3 * b), out=dense(b, b))
        return p

    base, channels = s["base"], s["patch"] ** 2
    net = dict(first=dense(base, s["width"]), second=dense(s["width"], s["width"]),
               table=jax.random.normal(next(keys), (s["classes"], base)), enter=conv(channels, base),
               leave=conv(s["mult"][0] * base, channels), norm=norm(s["mult"][0] * base),
               blocks=[make_block(*b) for b in down + middle + up])

    linear = lambda p, x: x @ p["w"] + p["b"]
    convolve = lambda p, x: lax.conv_general_dilated(x, p["w"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")) + p["b"]

    def normalise(p, x):
        n, h, w, c = x.shape
        y = x.reshape(n, h * w, groups(c), -1)
        y = y - y.mean((1, 3), keepdims=True)
        y = y * lax.rsqrt((y * y).mean((1, 3), keepdims=True) + EPS)
        return y.reshape(x.shape) * p["scale"] + p["shift"]

    def resize(x, how):
        n, h, w, c = x.shape
        if how == "down":
            return x.reshape(n, h // 2, 2, w // 2, 2, c).mean((2, 4))
        return x.repeat(2, 1).repeat(2, 2) if how == "up" else x

    def apply_block(p, kind, x, emb):
        a, b, resample, attends, _ = kind
        h = convolve(p["conv0"], resize(silu(normalise(p["norm0"], x)), resample))
        scale, shift = jnp.split(linear(p["affine"], emb)[:, None, None, :], 2, -1)
        h = convolve(p["conv1"], silu(normalise(p["norm1"], h) * (1 + scale) + shift))
        x = resize(x, resample)
        x = (h + (convolve(p["skip"], x) if "skip" in p else x)) * GAIN
        if not attends:
            return x
        n, height, width, c = x.shape
        qkv = linear(p["mix"]["qkv"], normalise(p["mix"]["norm"], x).reshape(n, height * width, c)).reshape(n, height * width, c, 3)
        weights = jax.nn.softmax(jnp.einsum("ntd,nsd->nts", qkv[..., 0], qkv[..., 1]) / math.sqrt(c), -1)
        y = linear(p["mix"]["out"], jnp.einsum("nts,nsd->ntd", weights, qkv[..., 2]))
        return (y.reshape(x.shape) + x) * GAIN

    def apply_net(p, x, c, label):
        half, patch = base // 2, s["patch"]
        angle = c[:, None] * jnp.exp(math.log(1e-4) / (half - 1) * jnp.arange(half))
        emb = jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], 1) + p["table"][label]
        emb = silu(linear(p["second"], silu(linear(p["first"], emb))))
        n, side = x.shape[0], 28 // patch
        h = convolve(p["enter"], x.reshape(n, side, patch, side, patch).transpose(0, 1, 3, 2, 4).reshape(n, side, side, channels))
        skips, blocks = [h], iter(p["blocks"])
        for kind in down:
            h = apply_block(next(blocks), kind, h, emb)
            skips.append(h)
        for kind in middle:
            h = apply_block(next(blocks), kind, h, emb)
        for kind in up:
            h = apply_block(next(blocks), kind, jnp.concatenate([h, skips.pop()], -1) if kind[4] else h, emb)
        h = convolve(p["leave"], silu(normalise(p["norm"], h)))
        return h.reshape(n, side, side, patch, patch).transpose(0, 1, 3, 2, 4).reshape(n, 28, 28, 1)

    return jax_step(jax, jnp, s, net, apply_net), "jax " + jax.__version__


def jax_step(jax, jnp, s, net, apply_net):
    def f(p, x, t, label):
        t4 = t[:, None, None, None]
        total = t4**2 + SIGMA_DATA**2
        c_skip, c_out = SIGMA_DATA**2 / ((t4 - SIGMA_MIN) ** 2 + SIGMA_DATA**2), SIGMA_DATA * (t4 - SIGMA_MIN) / jnp.sqrt(total)
        return c_skip * x + c_out * apply_net(p, x / jnp.sqrt(total), jnp.log(t) / 4, label)

    def loss_of(p, x0, label, key):
        one, two = jax.random.split(key)
        i = index_of(jax.random.uniform(one, (s["batch"],)), jax.scipy.special.erfinv, jnp.exp, jnp.floor, jnp.clip)
        low, high = karras(i), karras(i + 1)
        z = jax.random.normal(two, x0.shape)
        student = f(p, x0 + high[:, None, None, None] * z, high, label)
        teacher = jax.lax.stop_gradient(f(p, x0 + low[:, None, None, None] * z, low, label))
        distance = ((student - teacher) ** 2).sum((1, 2, 3))
        return jnp.mean((jnp.sqrt(distance + HUBER**2) - HUBER) / (high - low))

    def train(state, x0, label):
        p, average, m, v, t, key = state
        key, now = jax.random.split(key)
        loss, g = jax.value_and_grad(loss_of)(p, x0, label, now)
        t = t + 1
        m = jax.tree_util.tree_map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree_util.tree_map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        bias1, bias2, longest = 1 - 0.9**t, 1 - 0.999**t, 1999.0
        rho = longest - 2 * t * (1 - bias2) / bias2
        ratio = (rho - 4) * (rho - 2) * longest / ((longest - 4) * (longest - 2) * rho)
        rate = jnp.sqrt(jnp.maximum(ratio, 0) * bias2)
        move = lambda p, m, v: p - 1e-3 / bias1 * m * jnp.where(rho > 5, rate / (jnp.sqrt(v) + 1e-8), 1.0)
        p = jax.tree_util.tree_map(move, p, m, v)
        average = jax.tree_util.tree_map(lambda a, p: a + 0.002 * (p - a), average, p)
        return (p, average, m, v, t, key), loss

    zeros = lambda: jax.tree_util.tree_map(jnp.zeros_like, net)
    held = [(net, jax.tree_util.tree_map(jnp.copy, net), zeros(), zeros(), jnp.float32(0), jax.random.PRNGKey(1))]
    x0 = jax.random.uniform(jax.random.PRNGKey(2), (s["batch"], 28, 28, 1))
    label = jax.random.randint(jax.random.PRNGKey(3), (s["batch"],), 0, s["classes"])
    compiled = jax.jit(train, donate_argnums=0)

    def step():
        held[0], loss = compiled(held[0], x0, label)
        return float(loss)

    step(), step()
    return step


# ---- attention, its tangent and its gradient, each with the value ----

ATTENTION = (8, 1024, 64)  # heads, tokens, channels of a head


def pytorch_attention(what, threads):
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(threads)
    q, k, v, dq, dk, dv = (torch.rand(1, *ATTENTION) * 2 - 1 for _ in range(6))
    fused = F.scaled_dot_product_attention  # has no forward mode
    plain = lambda q, k, v: torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(ATTENTION[2]), -1) @ v
    inputs = [x.requires_grad_(what == "attention_grad") for x in (q, k, v)]

    def grad():
        value = fused(*inputs)
        return torch.autograd.grad(value, inputs, dq)[0]

    run = {"attention_forward": lambda: fused(*inputs), "attention_grad": grad,
           "attention_jvp": lambda: torch.func.jvp(plain, (q, k, v), (dq, dk, dv))[1]}[what]
    return lambda: float(run().flatten()[0]), "torch " + torch.__version__


def jax_attention(what, threads):
    import jax
    import jax.numpy as jnp

    q, k, v, dq, dk, dv = (jax.random.uniform(key, ATTENTION, minval=-1) for key in jax.random.split(jax.random.PRNGKey(0), 6))

    def attend(q, k, v):
        weights = jax.nn.softmax(jnp.einsum("htd,hsd->hts", q, k) / math.sqrt(ATTENTION[2]), -1)
        return jnp.einsum("hts,hsd->htd", weights, v)

    def grad(q, k, v, dq, dk, dv):
        value, back = jax.vjp(attend, q, k, v)
        return value, back(dq)

    run = jax.jit({"attention_forward": lambda *x: attend(*x[:3]), "attention_grad": grad,
                   "attention_jvp": lambda *x: jax.jvp(attend, x[:3], x[3:])}[what])

    def step():
        results = jax.tree_util.tree_leaves(jax.block_until_ready(run(q, k, v, dq, dk, dv)))
        return float(results[0].ravel()[0])

    return step, "jax " + jax.__version__


# ---- the conversation ----


def timed(step):
    start = time.perf_counter()
    loss = step()
    taken = time.perf_counter() - start
    if not math.isfinite(loss):
        sys.exit("the peer's loss is not finite")
    return taken


def main():
    peer, what, path, threads = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    if what == "train_step_ict":
        step, version = {"pytorch_eager": pytorch_eager, "jax_jit": jax_jit}[peer](sizes(path), threads)
    else:
        step, version = {"pytorch_eager": pytorch_attention, "jax_jit": jax_attention}[peer](what, threads)
    step(), step()
    print(version, flush=True)
    for _ in sys.stdin:
        print(f"{timed(step) * 1e3:.3f}", flush=True)


if __name__ == "__main__":
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.pop(name, None)  # what a shell has set for others would slow the peers
    main()
