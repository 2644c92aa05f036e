"""Results of training.cm: PyTorch's optimisers, and the losses of consistency models as the papers state them."""
import math

import torch

from reference import Net, Results, draw
from torch_layers import time_mlp

T, P, Q, B, D = 20, 6, 4, 16, 2
results = Results()

# ---- optimisers ----

start, gradients = draw("p", P, Q), draw("g", T, P, Q)


def run(case, optimiser, state_names):
    p = start.clone().requires_grad_()
    stepper = optimiser([p])
    for g in gradients:
        p.grad = g + 0.3 * p.detach()
        stepper.step()
    state = stepper.state[p]
    results.put(case, p=p, state={ours: state[theirs] for ours, theirs in state_names.items()})


moments = {"m": "exp_avg", "v": "exp_avg_sq"}
run("sgd_plain", lambda p: torch.optim.SGD(p, lr=0.1), {})
run("sgd_momentum", lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), {"v": "momentum_buffer"})
run("sgd_nesterov", lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True), {"v": "momentum_buffer"})
run("adam_steps", lambda p: torch.optim.Adam(p, lr=0.05), moments)
run("adam_betas", lambda p: torch.optim.Adam(p, lr=0.05, betas=(0.5, 0.9), eps=1e-4), moments)
run("adamw_steps", lambda p: torch.optim.AdamW(p, lr=0.05, weight_decay=0.1), moments)
run("radam_steps", lambda p: torch.optim.RAdam(p, lr=0.05), moments)
run("radam_short", lambda p: torch.optim.RAdam(p, lr=0.05, betas=(0.9, 0.8)), moments)



def clipped(most):
    a, b = torch.zeros(P, Q, requires_grad=True), torch.zeros(T, P, Q, requires_grad=True)
    a.grad, b.grad = start.clone(), gradients.clone()
    norm = torch.nn.utils.clip_grad_norm_([a, b], most)
    return norm, {"a": a.grad, "b": b.grad}


norm, short = clipped(0.5)
results.put("clip", short=short, same=clipped(100.0)[1], norm=norm)

mean = torch.optim.swa_utils.AveragedModel(torch.nn.ParameterList([start]), multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9))
mean.update_parameters(torch.nn.ParameterList([start]))  # the first update copies
for g in gradients:
    mean.update_parameters(torch.nn.ParameterList([g]))
results.put("average", a=next(mean.parameters()))

# ---- losses ----

DATA, LEAST, MOST, RHO = 0.5, 0.002, 80.0, 7
x0, z, u = draw("x0", B, D), draw("z", B, D), (draw("u", B) + 1) / 2


def consistency(n, x, t):
    t = t[:, None]
    skip = DATA**2 / ((t - LEAST) ** 2 + DATA**2)
    out = DATA * (t - LEAST) / torch.sqrt(DATA**2 + t**2)
    return skip * x + out * time_mlp(n, x / torch.sqrt(t**2 + DATA**2), torch.log(t[:, 0]) / 4, 12, 2, 8)


def grid(n):
    i = torch.arange(n)
    return (LEAST ** (1 / RHO) + i / (n - 1) * (MOST ** (1 / RHO) - LEAST ** (1 / RHO))) ** RHO


def gradients_of(loss_of, *nets):
    """The loss, and its gradient by the parameters of each net."""
    for net in nets:
        for value in net.values.values():
            value.requires_grad_(True)
    loss = loss_of()
    loss.backward()
    return loss, [{path: value.grad for path, value in net.values.items()} for net in nets]


def drawn_net(name):
    net = Net(name)
    consistency(net, x0, torch.ones(B))
    return net


def ict(levels):
    """The distribution over the grid as the paper has it: masses, their running sum, and where u falls in it."""
    sigma, net = grid(levels + 1), drawn_net("net")
    edges = torch.erf((torch.log(sigma) + 1.1) / (math.sqrt(2) * 2.0))
    mass = edges[1:] - edges[:-1]
    i = torch.searchsorted(torch.cumsum(mass / mass.sum(), 0), u, right=True)
    lo, hi = sigma[i], sigma[i + 1]

    def loss_of():
        student = consistency(net, x0 + hi[:, None] * z, hi)
        teacher = consistency(net, x0 + lo[:, None] * z, lo).detach()
        c = 0.00054 * math.sqrt(D)
        return ((torch.sqrt(((student - teacher) ** 2).sum(1) + c**2) - c) / (hi - lo)).mean()

    loss, (gradient,) = gradients_of(loss_of, net)
    results.put(f"ict_{levels}", loss=loss, gnet=gradient)


def ct():
    n = math.ceil(math.sqrt(0.01 * (151**2 - 2**2) + 2**2) - 1) + 1
    sigma, net, teacher_net = grid(n), drawn_net("net"), drawn_net("teacher")
    i = torch.floor(u * (n - 1)).long()
    lo, hi = sigma[i], sigma[i + 1]

    def loss_of():
        student = consistency(net, x0 + hi[:, None] * z, hi)
        teacher = consistency(teacher_net, x0 + lo[:, None] * z, lo).detach()
        return ((student - teacher) ** 2).sum(1).mean()

    loss, (gradient,) = gradients_of(loss_of, net)
    results.put("ct", n=torch.tensor(float(n)), loss=loss, gnet=gradient, gteacher=torch.tensor(0.0))


ict(10)
ict(40)
ct()
results.save(__file__)
