"""What peers know of the benchmarks' programs: sizes, read from the .cm files, and the order of a U-Net's blocks."""
import math
import os
import re

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
SIGMA_MIN, SIGMA_MAX, RHO, SIGMA_DATA = 0.002, 80.0, 7.0, 0.5
MEAN, STD, LEVELS = -1.1, 2.0, 11  # of the levels' logarithm; levels at the start of a run
HUBER = 0.00054 * 28  # 0.00054 sqrt(784)
GAIN = math.sqrt(0.5)
EPS = 1e-6

ATTENTION = (8, 1024, 64)  # heads, tokens, channels of a head


def read(path):
    text = open(os.path.join(ROOT, path), encoding="utf-8").read()
    number = lambda name: int(re.search(rf"\b{name} = (\d+)", text).group(1))
    numbers = lambda name: [int(n) for n in re.search(rf"\b{name} = \[([^\]]*)\]", text).group(1).split(",")]
    return number, numbers


def unet_sizes(batch=None):
    """The demo's network; without `batch`, that of its run."""
    number, numbers = read("examples/ict.cm")
    return dict(base=number("base"), mult=numbers("mult"), blocks=number("blocks"), attend=numbers("attend"),
                classes=number("classes"), patch=number("patch"), width=number("width"), batch=batch or number("batch"),
                image=(28, 28, 1))


def dit_sizes():
    """The transformer of bench/networks.cm."""
    number, _ = read("bench/networks.cm")
    return dict(width=number("width"), depth=number("depth"), heads=number("heads"), classes=number("classes"),
                batch=number("N"), image=(number("I"), number("J"), number("K")), patch=2, ratio=4, features=256)


def network_sizes(name):
    return dit_sizes() if name == "dit" else unet_sizes(read("bench/networks.cm")[0]("B"))


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
