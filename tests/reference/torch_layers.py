"""The layers of the library in PyTorch, by its own functions where it has them. n is a Net, or a view of one below a path: it gives
the parameter with a name and a shape; x has its channels last."""
import math

import torch
import torch.nn.functional as F


def channels_first(x):
    return x.permute(0, 3, 1, 2).contiguous()


def channels_last(x):
    return x.permute(0, 2, 3, 1).contiguous()


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


def block(n, x, emb, out, up=False, down=False, attends=False, heads=1, adaptive=False, double=False, project=True,
          k=math.sqrt(0.5), eps=1e-6):
    resample = upsample if up else mean_pool if down else lambda v: v
    h = conv(below(n, "conv0"), resample(F.silu(group_norm(below(n, "norm0"), x, eps))), out)
    p = linear(below(n, "affine"), emb, 2 * out if adaptive else out)[:, None, None, :]
    if adaptive:
        scale, shift = p.chunk(2, -1)
        pixel_norm = lambda u: u / torch.sqrt((u * u).mean(-1, keepdim=True) + 1e-4)
        scale, shift = (pixel_norm(scale), pixel_norm(shift)) if double else (scale + 1, shift)
        h = F.silu(shift + group_norm(below(n, "norm1"), h, eps) * scale)
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


def dit_block(n, x, emb, heads, ratio):
    c = x.shape[-1]
    p = linear(below(n, "modulation"), F.silu(emb), 6 * c)[:, None, :].chunk(6, -1)
    shifted = lambda x, shift, scale: F.layer_norm(x, (c,), eps=1e-6) * (1 + scale) + shift
    x = x + p[2] * self_attention(below(n, "mix"), shifted(x, p[0], p[1]), heads)
    h = F.gelu(linear(below(n, "mlp.first"), shifted(x, p[3], p[4]), ratio * c), approximate="tanh")
    return x + p[5] * linear(below(n, "mlp.last"), h, c)


def dit(n, x, t, label, patch, width, depth, heads, features, classes):
    b, h, w, c = x.shape
    rows, columns = h // patch, w // patch
    emb = linear(below(n, "embed.second"), F.silu(linear(below(n, "embed.first"), positional(t, features), width)), width)
    emb = emb + F.embedding(label, n("embed.table.w", classes, width))
    place = lambda i: positional(i.to(x.dtype), width // 2)
    places = torch.cat([place(torch.arange(rows).repeat_interleave(columns)), place(torch.arange(columns).repeat(rows))], -1)
    x = x.reshape(b, rows, patch, columns, patch, c).permute(0, 1, 3, 2, 4, 5).reshape(b, rows * columns, -1)
    x = linear(below(n, "enter"), x, width) + places
    for i in range(depth):
        x = dit_block(below(n, f"blocks.{i}"), x, emb, heads, 4)
    shift, scale = linear(below(n, "modulation"), F.silu(emb), 2 * width)[:, None, :].chunk(2, -1)
    x = F.layer_norm(x, (width,), eps=1e-6) * (1 + scale) + shift
    x = linear(below(n, "leave"), x, patch * patch * c)
    return x.reshape(b, rows, columns, patch, patch, c).permute(0, 1, 3, 2, 4, 5).reshape(b, h, w, c)


def mlp(n, x, out, width, depth):
    h = F.silu(linear(below(n, "first"), x, width))
    for i in range(depth - 1):
        h = F.silu(linear(below(n, f"hidden.{i}"), h, width))
    return linear(below(n, "last"), h, out)


def time_mlp(n, x, t, width, depth, features):
    frequency = 8.0 * (0.25 / 8.0) ** (torch.arange(features // 2) / (features // 2 - 1))
    angle = t[:, None] * frequency
    emb = F.silu(linear(below(n, "time"), torch.cat([angle.cos(), angle.sin()], -1), width))
    h = F.silu(linear(below(n, "first"), x, width) + linear(below(n, "start"), emb, width))
    for i in range(depth - 1):
        h = F.silu(linear(below(n, f"hidden.{i}.layer"), h, width) + linear(below(n, f"hidden.{i}.shift"), emb, width))
    return linear(below(n, "last"), h, x.shape[-1])
