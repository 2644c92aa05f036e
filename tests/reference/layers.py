"""Results of layers.cm."""
import math

import torch
import torch.nn.functional as F

from reference import Net, Results, check, draw, draw_integers
from torch_layers import (attend, block, channels_first, channels_last, conv, ddpmpp, dit, fir, group_norm, image_attention, linear, mean_pool,
                          mlp, positional, self_attention, time_mlp, upsample)

B, T, S, H, W, C, D, E, K = 2, 5, 7, 6, 4, 8, 12, 16, 3
results = Results()


def image(name="x", h=H, w=W, c=C):
    return {name: draw(name, B, h, w, c)}


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


check(results, "mlp", lambda n, x: mlp(n, x, D, 10, 3), row, Net())
check(results, "time_mlp", lambda n, x, t: time_mlp(n, x, t, 10, 2, 6), {**row, **time}, Net())

check(results, "block", lambda n, x, emb: block(n, x, emb, D), embedded, Net())
check(results, "block_down", lambda n, x, emb: block(n, x, emb, C, down=True, adaptive=True, attends=True, project=False,
                                                     k=1.0, eps=1e-5), embedded, Net())
check(results, "block_up", lambda n, x, emb: block(n, x, emb, C, up=True, heads=2), embedded, Net())
check(results, "block_double", lambda n, x, emb: block(n, x, emb, D, adaptive=True, double=True), embedded, Net())
label = draw_integers("i", 3, B)
check(results, "ddpmpp", lambda n, x, t: ddpmpp(n, x, t, label, 4, [1, 2], 1, [1], True, 3, 2),
      {**image(h=8, w=8, c=1), **time}, Net())
check(results, "dit_net", lambda n, x, t: dit(n, x, t, label, 2, 8, 2, 2, 6, 3), {**image(h=8, w=8, c=1), **time}, Net())
results.save(__file__)
