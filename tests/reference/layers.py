"""Results of layers.cm, computed with PyTorch's own functions where it has them."""
import math

import torch
import torch.nn.functional as F

from reference import Net, Results, check, draw, draw_integers

B, T, S, H, W, C, D, E, K = 2, 5, 7, 6, 4, 8, 12, 16, 3
results = Results()


def image(name="x", h=H, w=W, c=C):
    return {name: draw(name, B, h, w, c)}


def channels_first(x):
    return x.permute(0, 3, 1, 2).contiguous()


def channels_last(x):
    return x.permute(0, 2, 3, 1).contiguous()


# ---- layers: n is a Net or a view of one below a path; x has its channels last ----


def below(n, path):
    return lambda leaf, *shape: n(f"{path}.{leaf}", *shape)


def linear(n, x, out):
    return F.linear(x, n("w", x.shape[-1], out).T, n("b", out))


def conv(n, x, out, size=3, stride=1):
    w, b = n("w", size, size, x.shape[-1], out), n("b", out)
    return channels_last(F.conv2d(channels_first(x), w.permute(3, 2, 0, 1), b, stride=stride, padding=(size - 1) // 2))


def group_norm(n, x, eps=1e-5):
    c = x.shape[-1]
    groups = max(1, min(32, c // 4))
    return channels_last(F.group_norm(channels_first(x), groups, n("scale", c), n("shift", c), eps))


def positional(t, size, endpoint=False, swap=False):
    half = size // 2
    i = torch.arange(half)
    frequency = (1 / 10000) ** (i / (half - 1 if endpoint else half))
    angle = t[..., None] * frequency
    parts = [angle.sin(), angle.cos()] if swap else [angle.cos(), angle.sin()]
    return torch.cat(parts, -1)


def upsample(x):
    return channels_last(F.interpolate(channels_first(x), scale_factor=2, mode="nearest"))


def mean_pool(x):
    return channels_last(F.avg_pool2d(channels_first(x), 2))


def fir(x, up):
    c = x.shape[-1]
    f = torch.tensor([1.0, 3.0, 3.0, 1.0])
    f = (f[:, None] * f[None, :] / 64).expand(c, 1, 4, 4)
    if up:
        return channels_last(F.conv_transpose2d(channels_first(x), 4 * f, stride=2, padding=1, groups=c))
    return channels_last(F.conv2d(channels_first(x), f, stride=2, padding=1, groups=c))


def attend(q, k, v, mask=None):
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def self_attention(n, x, heads):
    c = x.shape[-1]
    qkv = linear(below(n, "qkv"), x, 3 * c)
    qkv = qkv.reshape(*x.shape[:-1], heads, c // heads, 3).transpose(1, 2)
    y = attend(qkv[..., 0], qkv[..., 1], qkv[..., 2])
    return linear(below(n, "out"), y.transpose(1, 2).reshape(x.shape), c)


def image_attention(n, x, heads, scale, eps=1e-6):
    y = group_norm(below(n, "norm"), x, eps).reshape(x.shape[0], -1, x.shape[-1])
    return (self_attention(below(n, "mix"), y, heads).reshape(x.shape) + x) * scale


def block(n, x, emb, out, up=False, down=False, attends=False, heads=1, adaptive=False, project=True, k=math.sqrt(0.5), eps=1e-6):
    resample = upsample if up else mean_pool if down else lambda v: v
    h = conv(below(n, "conv0"), resample(F.silu(group_norm(below(n, "norm0"), x, eps))), out)
    p = linear(below(n, "affine"), emb, 2 * out if adaptive else out)[:, None, None, :]
    if adaptive:
        scale, shift = p.chunk(2, -1)
        h = F.silu(shift + group_norm(below(n, "norm1"), h, eps) * (scale + 1))
    else:
        h = F.silu(group_norm(below(n, "norm1"), h + p, eps))
    h = conv(below(n, "conv1"), h, out)
    skip = resample(x)
    if x.shape[-1] != out or (project and (up or down)):
        skip = conv(below(n, "skip"), skip, out, size=1)
    y = (h + skip) * k
    return image_attention(below(n, "mix"), y, heads, k, eps) if attends else y


def ddpmpp(n, x, t, label, base, mult, blocks, attends, adaptive, classes, patch):
    b, h, w, c = x.shape
    size = 4 * base
    features = positional(t, base, endpoint=True, swap=True)
    features = features + F.embedding(label, n("embed.table.w", classes, base))
    emb = F.silu(linear(below(n, "embed.second"), F.silu(linear(below(n, "embed.first"), features, size)), size))
    x = x.reshape(b, h // patch, patch, w // patch, patch, c).permute(0, 1, 3, 2, 4, 5)
    x = conv(below(n, "enter"), x.reshape(b, h // patch, w // patch, -1), base)
    skips, at = [x], 0

    def part(path, x, out, **options):
        return block(below(n, path), x, emb, out, adaptive=adaptive, **options)

    for level, m in enumerate(mult):
        if level:
            x = part(f"down.{at}", x, x.shape[-1], down=True)
            skips.append(x)
            at += 1
        for _ in range(blocks):
            x = part(f"down.{at}", x, m * base, attends=level in attends)
            skips.append(x)
            at += 1
    x = part("middle.0", x, x.shape[-1], attends=True)
    x = part("middle.1", x, x.shape[-1])
    at = 0
    for level, m in reversed(list(enumerate(mult))):
        if level < len(mult) - 1:
            x = part(f"up.{at}", x, x.shape[-1], up=True)
            at += 1
        for i in range(blocks + 1):
            x = part(f"up.{at}", torch.cat([x, skips.pop()], -1), m * base, attends=level in attends and i == blocks)
            at += 1
    x = conv(below(n, "leave"), F.silu(group_norm(below(n, "norm"), x, 1e-6)), patch * patch * c)
    x = x.reshape(b, h // patch, w // patch, patch, patch, c).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(b, h, w, c)


# ---- cases ----

row = {"x": draw("x", B, C)}
sequence = {"x": draw("x", B, T, C)}
time = {"t": draw("t", B)}
embedded = {**image(), "emb": draw("emb", B, E)}

for name, f in {
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "relu": F.relu,
    "softplus": F.softplus,
    "softmax": lambda x: F.softmax(x, -1),
}.items():
    check(results, f"activations.{name}", lambda n, x, f=f: f(x), row)
check(results, "logsumexp", lambda n, x: torch.logsumexp(x, -1), row)

check(results, "linear", lambda n, x: linear(n, x, D), sequence, Net())
check(results, "projection", lambda n, x: x @ n("w", C, D), sequence, Net())
check(results, "conv", lambda n, x: conv(n, x, D), image(), Net())
check(results, "conv_strided", lambda n, x: conv(n, x, D, stride=2), image(), Net())
check(results, "group_norm", group_norm, image(), Net())
check(results, "layer_norm", lambda n, x: F.layer_norm(x, [C], n("scale", C), n("shift", C)), sequence, Net())
check(results, "rms_norm", lambda n, x: F.rms_norm(x, [C], n("scale", C), eps=1e-5), sequence, Net())

label = draw_integers("i", K, B, T)
table, dtable, w = draw("net.w", K, E), draw("dnet.w", K, E), draw("w", B, T, E)
gradient = torch.func.grad(lambda n: (w * F.embedding(label, n)).sum())(table)
results.put("embedding", y=F.embedding(label, table), dy=F.embedding(label, dtable), gnet={"w": gradient})

check(results, "positional", lambda n, t: positional(t, E), time)
check(results, "positional_edm", lambda n, t: positional(t, E, endpoint=True, swap=True), time)


def fourier(n, t):
    angle = t[:, None] * (2 * math.pi * draw("net.frequency", E // 2))
    return torch.cat([angle.cos(), angle.sin()], -1)


check(results, "fourier", fourier, time)

check(results, "mean_pool", lambda n, x: mean_pool(x), image())
check(results, "max_pool", lambda n, x: channels_last(F.max_pool2d(channels_first(x), 2)), image())
check(results, "upsample", lambda n, x: upsample(x), image())
check(results, "fir_down", lambda n, x: fir(x, False), image())
check(results, "fir_up", lambda n, x: fir(x, True), image())

tokens = {"q": draw("q", B, T, C), "k": draw("k", B, S, C), "v": draw("v", B, S, D)}
tangents = tuple(draw("d" + name, *x.shape) for name, x in tokens.items())
y, dy = torch.func.jvp(attend, tuple(tokens.values()), tangents)
w = draw("w", *y.shape)
gq, gk, gv = torch.func.grad(lambda *a: (w * attend(*a)).sum(), (0, 1, 2))(*tokens.values())
results.put("attend", y=y, dy=dy, gq=gq, gk=gk, gv=gv)
past = torch.ones(T, T, dtype=torch.bool).tril()
check(results, "attend_causal", lambda n, x: attend(x, x, x, past), sequence)
check(results, "self_attention", lambda n, x: self_attention(n, x, 2), sequence, Net())
check(results, "image_attention", lambda n, x: image_attention(n, x, 2, 0.5), image(), Net())


def mlp(n, x):
    h = F.silu(linear(below(n, "first"), x, 10))
    for i in range(2):
        h = F.silu(linear(below(n, f"hidden.{i}"), h, 10))
    return linear(below(n, "last"), h, D)


def time_mlp(n, x, t):
    frequency = 8.0 * (0.25 / 8.0) ** (torch.arange(3) / 2)
    angle = t[:, None] * frequency
    emb = F.silu(linear(below(n, "time"), torch.cat([angle.cos(), angle.sin()], -1), 10))
    h = F.silu(linear(below(n, "first"), x, 10) + linear(below(n, "start"), emb, 10))
    h = F.silu(linear(below(n, "hidden.0.layer"), h, 10) + linear(below(n, "hidden.0.shift"), emb, 10))
    return linear(below(n, "last"), h, C)


check(results, "mlp", mlp, row, Net())
check(results, "time_mlp", time_mlp, {**row, **time}, Net())

check(results, "block", lambda n, x, emb: block(n, x, emb, D), embedded, Net())
check(results, "block_down", lambda n, x, emb: block(n, x, emb, C, down=True, adaptive=True, attends=True, project=False,
                                                     k=1.0, eps=1e-5), embedded, Net())
check(results, "block_up", lambda n, x, emb: block(n, x, emb, C, up=True, heads=2), embedded, Net())
label = draw_integers("i", 3, B)
check(results, "ddpmpp", lambda n, x, t: ddpmpp(n, x, t, label, 4, [1, 2], 1, [1], True, 3, 2),
      {**image(h=8, w=8, c=1), **time}, Net())
results.save(__file__)
