"""Results of methods.cm: the losses of the methods as their papers state them, and their gradients, on fixed draws."""
import math

import torch

from reference import Net, Results, draw
from torch_layers import time_mlp

B, D, DATA, LEAST, MOST, RHO = 16, 2, 0.5, 0.002, 80.0, 7
results = Results()
x0, z, u, v, weight = draw("x0", B, D), draw("z", B, D), draw("u", B), draw("v", B), draw("weight", B)


def raw(n, x, c):
    return time_mlp(n, x, c, 12, 2, 8)


def drawn_net(name):
    net = Net(name)
    raw(net, x0, torch.ones(B))
    return net


def put(case, loss_of, **nets):
    """The loss and its gradient by each net; the key is what results call it."""
    for net in nets.values():
        for value in net.values.values():
            value.requires_grad_(True)
    loss = loss_of()
    loss.backward()
    results.put(case, loss=loss, **{key: {path: value.grad for path, value in net.values.items()} for key, net in nets.items()})


def column(t):
    return t[:, None]


def norm(d):
    return torch.sqrt((d * d).sum(1))


# ---- Lu, Song 2025: Algorithm 1 ----


def continuous(case, velocity_of, warm):
    net = drawn_net("net")
    t = torch.atan(torch.exp(-1 + 1.4 * u) / DATA)
    cos, sin = column(torch.cos(t)), column(torch.sin(t))
    data, noise = DATA * x0, DATA * z
    x = cos * data + sin * noise
    v = velocity_of(data, noise, x, t, cos, sin)
    fixed, j = torch.func.jvp(lambda y, s: raw(net, y, s), (x / DATA, t), (cos * sin * v / DATA, (cos * sin)[:, 0]))
    fixed, j = fixed.detach(), j.detach()
    g = -(cos**2) * (DATA * fixed - v) - warm * (cos * sin * x + DATA * j)
    g = g / (column(norm(g)) + 0.1)

    def loss_of():
        d = raw(net, x / DATA, t) - fixed - g
        return (torch.exp(weight) / D * (d * d).sum(1) - weight).mean()

    put(case, loss_of, gnet=net)


continuous("sct", lambda data, noise, x, t, cos, sin: cos * noise - sin * data, 1.0)
continuous("sct_warm", lambda data, noise, x, t, cos, sin: cos * noise - sin * data, 0.25)
teacher = drawn_net("teacher")
continuous("scd", lambda data, noise, x, t, cos, sin: DATA * raw(teacher, x / DATA, t), 1.0)

# ---- Karras et al. 2022, Song et al. 2023 ----


def denoise(n, x, s):
    s = column(s)
    total = s**2 + DATA**2
    return DATA**2 / total * x + s * DATA / torch.sqrt(total) * raw(n, x / torch.sqrt(total), torch.log(s[:, 0]) / 4)


def diffusion():
    net = drawn_net("net")
    s = torch.exp(-1.2 + 1.2 * u)

    def loss_of():
        d = denoise(net, x0 + column(s) * z, s) - x0
        return ((s**2 + DATA**2) / (s * DATA) ** 2 * (d * d).sum(1)).mean()

    put("diffusion", loss_of, gnet=net)


diffusion()


def consistency(n, x, s):
    s = column(s)
    total = s**2 + DATA**2
    skip, out = DATA**2 / ((s - LEAST) ** 2 + DATA**2), DATA * (s - LEAST) / torch.sqrt(total)
    return skip * x + out * raw(n, x / torch.sqrt(total), torch.log(s[:, 0]) / 4)


def cd():
    net = drawn_net("net")
    i = torch.floor((u + 1) / 2 * 17)
    level = lambda i: (LEAST ** (1 / RHO) + i / 17 * (MOST ** (1 / RHO) - LEAST ** (1 / RHO))) ** RHO
    lo, hi = level(i), level(i + 1)
    x = x0 + column(hi) * z
    slope = lambda y, s: (y - denoise(teacher, y, s)) / column(s)
    first = slope(x, hi)
    guess = x + column(lo - hi) * first
    y = x + column(lo - hi) * (first + slope(guess, lo)) / 2

    def loss_of():
        d = consistency(net, x, hi) - consistency(net, y, lo).detach()
        c = 0.00054 * math.sqrt(D)
        return ((torch.sqrt((d * d).sum(1) + c**2) - c) / (hi - lo)).mean()

    put("cd", loss_of, gnet=net)


cd()

# ---- Geng et al. 2025: tuning ----


def tuned(case, stage, c):
    net = drawn_net("net")
    t = torch.exp(-1.1 + 2 * u)
    r = torch.clamp(t * (1 - (1 + 8 * torch.sigmoid(-t)) / 2 ** (stage + 1)), min=0)
    assert (r == 0).any() == (stage == 0) and (r > 0).any()

    def loss_of():
        target = torch.where(column(r) > 0, denoise(net, x0 + column(r) * z, torch.where(r > 0, r, 1.0)), x0)
        d = denoise(net, x0 + column(t) * z, t) - target.detach()
        return ((torch.sqrt((d * d).sum(1) + c**2) - c) / (t - r)).mean()

    put(case, loss_of, gnet=net)


tuned("ect_first", 0, 0.0)
tuned("ect_third", 2, 0.06)

# ---- Geng et al. 2025: mean flows ----


def mean_flow():
    net, gap = drawn_net("net"), drawn_net("gap")
    a, b = torch.sigmoid(2 * u), torch.sigmoid(2 * v)
    t = torch.maximum(a, b)
    r = torch.where(torch.arange(B) % 2 == 0, t, torch.minimum(a, b))
    y, velocity = (1 - column(t)) * x0 + column(t) * z, z - x0
    mean_velocity = lambda y, t: raw(net, y, t) + raw(gap, y, t - r)
    along = torch.func.jvp(mean_velocity, (y, t), (velocity, torch.ones(B)))[1].detach()

    def loss_of():
        d = mean_velocity(y, t) - (velocity - column(t - r) * along)
        s = (d * d).sum(1)
        return (s / (s + 0.01).detach()).mean()

    put("mean_flow", loss_of, gnet=net, ggap=gap)


mean_flow()

# ---- Zheng et al. 2026 ----


def predict(n, x, t):
    return column(torch.cos(t)) * x - column(torch.sin(t)) * raw(n, x, t)


def rcm_consistency():
    net, warm = drawn_net("net"), 0.6
    t = torch.atan(torch.exp(-0.8 + 1.6 * u))
    cos, sin = column(torch.cos(t)), column(torch.sin(t))
    x = cos * x0 + sin * z
    velocity = raw(teacher, x, t)
    fixed, j = torch.func.jvp(lambda y, s: raw(net, y, s), (x, t), (cos * sin * velocity, (cos * sin)[:, 0]))
    fixed, j = fixed.detach(), j.detach()
    g = -cos * torch.sqrt(1 - warm**2 * sin**2) * (fixed - velocity) - (warm * cos * sin * x + j)
    put("rcm_consistency", lambda: ((raw(net, x, t) - fixed - g / (column(norm(g)) + 0.1)) ** 2).sum(1).mean(), gnet=net)


def rcm_matching():
    net, fake = drawn_net("net"), drawn_net("fake")
    t = torch.atan(torch.exp(1.6 * u))

    def loss_of():
        x = predict(net, z, torch.full((B,), math.pi / 2))
        y = column(torch.cos(t)) * x + column(torch.sin(t)) * x0
        theirs = predict(teacher, y, t)
        scale = (x - theirs).abs().mean(1, keepdim=True).clamp(min=1e-5)
        target = (x - (predict(fake, y, t) - theirs) / scale).detach()
        return ((x - target) ** 2).mean(1).mean()

    put("rcm_matching", loss_of, gnet=net)


def rcm_fake():
    net = drawn_net("net")
    t = torch.atan(torch.exp(1.6 * u))
    cos, sin = column(torch.cos(t)), column(torch.sin(t))
    put("rcm_fake", lambda: ((raw(net, cos * x0 + sin * z, t) - (cos * z - sin * x0)) ** 2).sum(1).mean(), gnet=net)


rcm_consistency()
rcm_matching()
rcm_fake()

# ---- Luo et al. 2023 ----


def lcm_step():
    net, target, free = drawn_net("net"), drawn_net("target"), drawn_net("free")
    beta = torch.linspace(math.sqrt(0.00085), math.sqrt(0.012), 1000) ** 2
    product = torch.cumprod(1 - beta, 0)
    t = 20 * (torch.floor((u + 1) / 2 * 50).long() + 1) - 1
    p = torch.clamp(t - 20, min=0)
    alpha = lambda t: column(torch.sqrt(product[t]))
    sigma = lambda t: column(torch.sqrt(1 - product[t]))
    y = alpha(t) * x0 + sigma(t) * z
    predicted = lambda n, y, t: denoise(n, y / alpha(t), (sigma(t) / alpha(t))[:, 0])
    c, none = predicted(teacher, y, t), predicted(free, y, t)
    x = c + column(v + 1) * (c - none)
    earlier = alpha(p) * x + sigma(p) * (y - alpha(t) * x) / sigma(t)

    def f(n, y, t):
        s = column(10.0 * t)
        root = torch.sqrt(s**2 + DATA**2)
        return DATA**2 / root**2 * y + s / root * predicted(n, y, t)

    put("lcm_step", lambda: ((f(net, y, t) - f(target, earlier, p).detach()) ** 2).mean(), gnet=net)


lcm_step()
results.save(__file__)
