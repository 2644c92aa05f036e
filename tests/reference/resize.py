"""Results of resize.cm."""
import torch
import torch.nn.functional as F

from reference import Results, draw
from torch_layers import channels_first, channels_last

B, T, H, W, C = 2, 11, 6, 4, 3
results = Results()


def check(f, x, dx, w):
    y, dy = torch.func.jvp(f, (x,), (dx,))
    return {"y": y, "dy": dy, "gx": torch.func.grad(lambda v: (w * f(v)).sum())(x)}


def image(x, size, how):
    return channels_last(F.interpolate(channels_first(x), size, **how))


def line(x, size, how):
    return F.interpolate(x.transpose(1, 2)[..., None], (size, 1), **how)[..., 0].transpose(1, 2)


nearest = {"mode": "nearest-exact"}
linear = {"mode": "bilinear", "align_corners": False}
antialiased = {**linear, "antialias": True}

x, dx, w = draw("x", B, H, W, C), draw("dx", B, H, W, C), draw("w", B, 9, 13, C)
sizes = {"larger": (8, 13), "smaller": (4, 3), "both": (9, 2), "same": (6, 4)}
for name, how in {"nearest": nearest, "linear": linear, "antialiased": antialiased}.items():
    parts = {part: check(lambda v: image(v, size, how), x, dx, w[:, :size[0], :size[1]]) for part, size in sizes.items()}
    results.put(f"image_{name}", **parts)

x, dx, w = draw("x", B, T, C), draw("dx", B, T, C), draw("w", B, 17, C)
cases = {"larger": (17, linear), "smaller": (5, linear), "one": (1, linear), "one_antialiased": (1, antialiased),
         "nearest": (17, nearest)}
results.put("line", **{name: check(lambda v: line(v, size, how), x, dx, w[:, :size]) for name, (size, how) in cases.items()})
results.save(__file__)
