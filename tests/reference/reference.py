"""What the reference scripts share: arguments that the tests draw in the same way, derivatives in f64, and the file of results.

Every argument is a function of its name and shape alone (tests/api/reference_test.c has the same rules), so that only results are
stored. The scripts were run with Python 3.11, torch 2.5.1 and numpy 1.26.4:

    python3 -m venv venv && venv/bin/pip install torch==2.5.1 numpy==1.26.4
    venv/bin/python tests/reference/layers.py

They write NAME.safetensors beside themselves; the tests need no Python."""
import json
import os
import struct

import numpy as np
import torch

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)


def hashed(name, count):
    """32 random bits for each element: FNV-1a of the name, then a mix of it with the number of the element."""
    seed = 2166136261
    for byte in name.encode():
        seed = ((seed ^ byte) * 16777619) & 0xFFFFFFFF
    x = (np.arange(count, dtype=np.uint64) * 2654435769 + seed) & 0xFFFFFFFF
    for factor in (0x7FEB352D, 0x846CA68B):
        x ^= x >> np.uint64(16)
        x = (x * np.uint64(factor)) & np.uint64(0xFFFFFFFF)
    return x ^ (x >> np.uint64(16))


def draw(name, *shape):
    """An f32 argument, as f64: uniform in [-1, 1), but weights by their fan in, and scales about 1."""
    count = int(np.prod(shape))
    u = (hashed(name, count) >> np.uint64(8)).astype(np.float64) / 2**23 - 1
    if name.endswith(".w"):
        u = u * np.sqrt(3.0 * shape[-1] / count)
    elif name.endswith(".scale") and not name.startswith("d"):
        u = 1 + u / 4
    return torch.from_numpy(u.astype(np.float32).astype(np.float64).reshape(shape))


def draw_integers(name, below, *shape):
    return torch.from_numpy((hashed(name, int(np.prod(shape))) % np.uint64(below)).astype(np.int64).reshape(shape))


class Net:
    """Parameters by path, drawn when they are first asked for, and their tangents."""

    def __init__(self, name="net"):
        self.name, self.values, self.tangents = name, {}, {}

    def __call__(self, path, *shape):
        if path not in self.values:
            self.values[path] = draw(f"{self.name}.{path}", *shape)
            self.tangents[path] = draw(f"d{self.name}.{path}", *shape)
        return self.values[path]


def flat(tree, path):
    if isinstance(tree, dict):
        return {name: leaf for key, part in tree.items() for name, leaf in flat(part, f"{path}.{key}" if path else key).items()}
    return {path: tree}


class Results:
    def __init__(self):
        self.arrays = {}

    def put(self, case, **results):
        """Results by name; the name of the only one is empty."""
        for name, array in flat(results, "").items():
            self.arrays[f"{case}.{name}" if name else case] = np.array(array.detach().numpy(), np.float32, order="C")

    def save(self, script):
        path = os.path.splitext(os.path.abspath(script))[0] + ".safetensors"
        header, at = {}, 0
        for name, array in self.arrays.items():
            header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
            at += array.nbytes
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        with open(path, "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for array in self.arrays.values():
                file.write(array.tobytes())
        print(f"{path}: {len(self.arrays)} arrays, {8 + len(text) + at} bytes")


def check(results, case, f, inputs, net=None, weight_name="w"):
    """Value, tangent and gradient of f(net, *inputs), as the functions `check` of the programs give them.

    inputs: {"x": tensor, ...}; tangents are drawn as dx, ...; one input is x itself, several are a record."""
    names, values = list(inputs), list(inputs.values())
    f(net, *values)  # the parameters are known afterwards
    params = dict(net.values) if net else {}
    paths = list(params)

    def call(*flat_args):
        if net:
            net.values = dict(zip(paths, flat_args))
        return f(net, *flat_args[len(paths):])

    args = [params[p] for p in paths] + values
    tangents = [net.tangents[p] for p in paths] if net else []
    tangents += [draw("d" + name, *value.shape) for name, value in inputs.items()]
    y, dy = torch.func.jvp(call, tuple(args), tuple(tangents))
    w = draw(weight_name, *y.shape)
    gradients = torch.func.grad(lambda *a: (w * call(*a)).sum(), tuple(range(len(args))))(*args)
    out = {"y": y, "dy": dy}
    if net:
        out["gnet"] = dict(zip(paths, gradients))
        net.values = params
    own = gradients[len(paths):]
    out["gx"] = own[0] if len(names) == 1 else dict(zip(names, own))
    results.put(case, **out)
