"""Results of attention.cm: PyTorch's forward mode over plain attention, and its reverse mode over either; JAX must agree.

Beside what reference.py names it needs jax 0.4.38."""
import jax
import jax.numpy as jnp
import numpy as np
import torch

from reference import Results, draw, draw_integers

jax.config.update("jax_enable_x64", True)
H, R, T, S, D, E = 2, 3, 13, 11, 6, 5
results = Results()
label = draw_integers("label", 3, T).numpy()


def softmax(m, s):
    """Of rows that are all hidden 0."""
    shown = (s > -m.inf).any(-1)[..., None]
    s = m.where(shown, s, 0 * m.where(shown, 0.0, 1.0))
    e = m.exp(s - (s.max(-1).values if m is torch else s.max(-1))[..., None])
    return m.where(shown, e / e.sum(-1)[..., None], 0.0)


def weigh(m, s, v):
    return m.einsum("h...ts,hse->h...te", softmax(m, s), v)


def scores(m, q, k):
    return 4 * m.einsum("h...td,hsd->h...ts", q, k)


def hidden(m, s):
    shown = np.arange(T)[:, None] >= np.arange(S)[None, :] + 3
    return m.where(torch.from_numpy(shown) if m is torch else shown, s, -m.inf)


def unit(m, x):
    return x / m.sqrt((x * x).sum(-1))[..., None]


def entropy(m, x, c):
    s = 4 * m.einsum("td,sd->ts", x, c)
    top = s.max(-1).values if m is torch else s.max(-1)
    picked = s[np.arange(T), label]
    return top + m.log(m.exp(s - top[:, None]).sum(-1)) - picked


def run(f, wrap, jvp, grad, x, dx, w, dw):
    x, dx, w, dw = [wrap(a) for a in x], [wrap(a) for a in dx], wrap(w), wrap(dw)
    n = len(x)

    def mixed(*a):
        y, dy = jvp(f, tuple(a[:n]), tuple(a[n:]))
        return (w * y).sum() + (dw * dy).sum()

    y, dy = jvp(f, tuple(x), tuple(dx))
    gx = grad(lambda *a: (w * f(*a)).sum(), tuple(range(n)))(*x)
    both = grad(mixed, tuple(range(2 * n)))(*x, *dx)
    return [y, dy, *gx, *both]


def put(case, f, shapes, out):
    names = list(shapes)
    x, dx = [draw(name, *shape) for name, shape in shapes.items()], [draw("d" + name, *shape) for name, shape in shapes.items()]
    w, dw = draw("w", *out), draw("dw", *out)
    got = run(lambda *a: f(torch, *a), lambda a: a, torch.func.jvp, torch.func.grad, x, dx, w, dw)
    other = run(lambda *a: f(jnp, *a), lambda a: jnp.asarray(a.numpy()), jax.jvp, jax.grad, x, dx, w, dw)
    for a, b in zip(got, other):
        np.testing.assert_allclose(a.detach().numpy(), np.asarray(b), rtol=1e-9, atol=1e-12)
    n = len(names)
    parts = [dict(zip(names, got[at:at + n])) for at in (2, 2 + n, 2 + 2 * n)]
    results.put(case, y=got[0], dy=got[1], gx=parts[0], mx=parts[1], mdx=parts[2])


heads = {"q": (H, T, D), "k": (H, S, D), "v": (H, S, E)}
put("plain", lambda m, q, k, v: weigh(m, scores(m, q, k), v), heads, (H, T, E))
put("hidden_rows", lambda m, q, k, v: weigh(m, hidden(m, scores(m, q, k)), v), heads, (H, T, E))
put("soft_capped", lambda m, q, k, v: weigh(m, 2 * m.tanh(scores(m, q, k) / 2), v), heads, (H, T, E))
put("unit_queries", lambda m, q, k, v: weigh(m, scores(m, unit(m, q), unit(m, k)), v), heads, (H, T, E))
put("biased", lambda m, q, k, v, b: weigh(m, scores(m, q, k) + b, v), heads | {"b": (H, T, S)}, (H, T, E))
put("grouped", lambda m, q, k, v: weigh(m, m.einsum("hrtd,hsd->hrts", 4 * q, k), v), heads | {"q": (H, R, T, D)}, (H, R, T, E))
put("classes", entropy, {"x": (T, D), "c": (S, D)}, (T,))
results.save(__file__)
