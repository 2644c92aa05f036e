"""The programs of the benchmarks in JAX, compiled by jit."""
import math

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import silu

from peer_shapes import ATTENTION, EPS, GAIN, HUBER, SIGMA_DATA, SIGMA_MIN
from peer_shapes import groups, index_of, karras, network_sizes, plan, unet_sizes

VERSION = "jax " + jax.__version__
keys = iter(jax.random.split(jax.random.PRNGKey(0), 4096))


def dense(a, b):
    return {"w": jax.random.normal(next(keys), (a, b)) / math.sqrt(a), "b": jnp.zeros(b)}


def linear(p, x):
    return x @ p["w"] + p["b"]


def attend(q, k, v):
    weights = jax.nn.softmax(jnp.einsum("...td,...sd->...ts", q, k) / math.sqrt(q.shape[-1]), -1)
    return jnp.einsum("...ts,...sd->...td", weights, v)


# ---- the demo's U-Net: images are N, H, W, C ----


def conv(a, b, k=3):
    return {"w": jax.random.normal(next(keys), (k, k, a, b)) / math.sqrt(k * k * a), "b": jnp.zeros(b)}


def norm(c):
    return {"scale": jnp.ones(c), "shift": jnp.zeros(c)}


def convolve(p, x):
    return lax.conv_general_dilated(x, p["w"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")) + p["b"]


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


def make_block(a, b, resample, attends, width):
    p = dict(norm0=norm(a), conv0=conv(a, b), affine=dense(width, 2 * b), norm1=norm(b), conv1=conv(b, b))
    if a != b or resample:
        p["skip"] = conv(a, b, 1)
    if attends:
        p["mix"] = dict(norm=norm(b), qkv=dense(b, 3 * b), out=dense(b, b))
    return p


def make_unet(s):
    base, channels = s["base"], s["patch"] ** 2
    down, middle, up = plan(s)
    return dict(first=dense(base, s["width"]), second=dense(s["width"], s["width"]),
                table=jax.random.normal(next(keys), (s["classes"], base)), enter=conv(channels, base),
                leave=conv(s["mult"][0] * base, channels), norm=norm(s["mult"][0] * base),
                blocks=[make_block(*b[:4], s["width"]) for b in down + middle + up])


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
    tokens = normalise(p["mix"]["norm"], x).reshape(n, height * width, c)
    qkv = linear(p["mix"]["qkv"], tokens).reshape(n, height * width, c, 3)
    y = linear(p["mix"]["out"], attend(qkv[..., 0], qkv[..., 1], qkv[..., 2]))
    return (y.reshape(x.shape) + x) * GAIN


def apply_unet(s, p, x, c, label):
    half, patch = s["base"] // 2, s["patch"]
    angle = c[:, None] * jnp.exp(math.log(1e-4) / (half - 1) * jnp.arange(half))
    emb = jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], 1) + p["table"][label]
    emb = silu(linear(p["second"], silu(linear(p["first"], emb))))
    h = convolve(p["enter"], to_patches(x, patch))
    down, middle, up = plan(s)
    skips, blocks = [h], iter(p["blocks"])
    for kind in down:
        h = apply_block(next(blocks), kind, h, emb)
        skips.append(h)
    for kind in middle:
        h = apply_block(next(blocks), kind, h, emb)
    for kind in up:
        h = apply_block(next(blocks), kind, jnp.concatenate([h, skips.pop()], -1) if kind[4] else h, emb)
    return from_patches(convolve(p["leave"], silu(normalise(p["norm"], h))), patch)


def to_patches(x, size):
    n, h, w, c = x.shape
    squares = x.reshape(n, h // size, size, w // size, size, c).transpose(0, 1, 3, 2, 4, 5)
    return squares.reshape(n, h // size, w // size, size * size * c)


def from_patches(x, size):
    n, h, w, c = x.shape
    squares = x.reshape(n, h, w, size, size, c // size**2).transpose(0, 1, 3, 2, 4, 5)
    return squares.reshape(n, h * size, w * size, c // size**2)


# ---- the diffusion transformer ----


def make_dit(s):
    c, channels = s["width"], s["patch"] ** 2 * s["image"][2]
    block = lambda: dict(modulation=dense(c, 6 * c), qkv=dense(c, 3 * c), out=dense(c, c), first=dense(c, s["ratio"] * c),
                         second=dense(s["ratio"] * c, c))
    return dict(first=dense(s["features"], c), second=dense(c, c), table=jax.random.normal(next(keys), (s["classes"], c)),
                enter=dense(channels, c), leave=dense(c, channels), modulation=dense(c, 2 * c),
                blocks=[block() for _ in range(s["depth"])])


def positional(t, size):
    angle = t[:, None] * jnp.exp(math.log(1e-4) / (size // 2) * jnp.arange(size // 2))
    return jnp.concatenate([jnp.cos(angle), jnp.sin(angle)], 1)


def modulated(x, shift, scale):
    y = x - x.mean(-1, keepdims=True)
    return y * lax.rsqrt((y * y).mean(-1, keepdims=True) + EPS) * (1 + scale) + shift


def mix(p, heads, x):
    n, t, c = x.shape
    q, k, v = linear(p["qkv"], x).reshape(n, t, 3, heads, c // heads).transpose(2, 0, 3, 1, 4)
    return linear(p["out"], attend(q, k, v).transpose(0, 2, 1, 3).reshape(n, t, c))


def apply_dit(s, p, x, c, label):
    emb = linear(p["second"], silu(linear(p["first"], positional(c, s["features"])))) + p["table"][label]
    patches = to_patches(x, s["patch"])
    n, rows, columns, channels = patches.shape
    row, column = (positional(jnp.arange(k), s["width"] // 2) for k in (rows, columns))
    places = jnp.concatenate([row.repeat(columns, 0), jnp.tile(column, (rows, 1))], 1)
    h = linear(p["enter"], patches.reshape(n, rows * columns, channels)) + places
    for b in p["blocks"]:
        m = jnp.split(linear(b["modulation"], silu(emb))[:, None], 6, -1)
        h = h + m[2] * mix(b, s["heads"], modulated(h, m[0], m[1]))
        h = h + m[5] * linear(b["second"], jax.nn.gelu(linear(b["first"], modulated(h, m[3], m[4])), approximate=True))
    m = jnp.split(linear(p["modulation"], silu(emb))[:, None], 2, -1)
    return from_patches(linear(p["leave"], modulated(h, m[0], m[1])).reshape(patches.shape), s["patch"])


# ---- values, tangents and gradients ----


def weight_count(net):
    return sum(leaf.size for leaf in jax.tree_util.tree_leaves(net))


def stepper(run, *arguments):
    def step():
        results = jax.tree_util.tree_leaves(jax.block_until_ready(run(*arguments)))
        return float(results[0].ravel()[0])

    return step


def network(what):
    """Its value, its tangent by image and noise level, its gradient by all weights."""
    name, _, form = what.partition("_")
    s = network_sizes(name)
    make, apply = {"unet": (make_unet, apply_unet), "dit": (make_dit, apply_dit)}[name]
    some = lambda *shape: jax.random.uniform(next(keys), (s["batch"], *shape), minval=-1)
    net, label = make(s), jax.random.randint(next(keys), (s["batch"],), 0, s["classes"])
    x, dx, c, dc = some(*s["image"]), some(*s["image"]), some(), some()

    def grad(p, x, c, label, y):
        value, back = jax.vjp(lambda p: apply(s, p, x, c, label), p)
        return value, back(y)

    def both(p, x, c, label, dx, dc):
        return jax.jvp(lambda x, c: apply(s, p, x, c, label), (x, c), (dx, dc))

    run, more = {"forward": (lambda *a: apply(s, *a), ()), "jvp": (both, (dx, dc)), "grad": (grad, (dx,))}[form]
    return stepper(jax.jit(run), net, x, c, label, *more), weight_count(net)


def attention(what):
    inputs = [jax.random.uniform(next(keys), ATTENTION, minval=-1) for _ in range(6)]

    def grad(q, k, v, y, *_):
        value, back = jax.vjp(attend, q, k, v)
        return value, back(y)

    run = {"attention_forward": lambda *x: attend(*x[:3]), "attention_grad": grad,
           "attention_jvp": lambda *x: jax.jvp(attend, x[:3], x[3:])}[what]
    return stepper(jax.jit(run), *inputs), 0


# ---- the demo's training step ----


def training_step():
    s = unet_sizes()
    net = make_unet(s)

    def f(p, x, t, label):
        t4 = t[:, None, None, None]
        total = t4**2 + SIGMA_DATA**2
        c_skip = SIGMA_DATA**2 / ((t4 - SIGMA_MIN) ** 2 + SIGMA_DATA**2)
        c_out = SIGMA_DATA * (t4 - SIGMA_MIN) / jnp.sqrt(total)
        return c_skip * x + c_out * apply_unet(s, p, x / jnp.sqrt(total), jnp.log(t) / 4, label)

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

    return step, weight_count(net)


def prepare(what, threads, compiled):
    """A step, and how many weights its network has; threads are those that the process may use."""
    if what == "train_step_ict":
        return training_step()
    return (attention if what.startswith("attention") else network)(what)
