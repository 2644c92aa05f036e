# Makes the files of this folder with the formats' own libraries: numpy, safetensors 0.8, Pillow.  Values count up from 0.
import gzip
import struct

import numpy as np
from PIL import Image
from safetensors import TensorSpec, serialize_file


def count(shape, dtype):
    return np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)


np.save("f32.npy", count((2, 3), "<f4"))
np.save("big_endian_i32.npy", count((3,), ">i4"))
np.save("big_endian_f64.npy", count((2, 2), ">f8"))
np.save("fortran_f64.npy", np.asfortranarray(count((2, 3, 4), "<f8")))
np.save("bool.npy", np.array([True, False, True]))
np.save("scalar_i64.npy", np.int64(-7))
np.save("empty_u8.npy", count((0, 3), "u1"))
np.save("f16.npy", count((5,), "<f2"))
np.save("objects.npy", np.array([{}, []], dtype=object), allow_pickle=True)
np.save("records.npy", np.zeros(2, dtype=[("a", "<f4"), ("b", "<i4")]))
np.save("i16.npy", count((4,), "<i2"))
for version in ((2, 0), (3, 0)):
    with open(f"version{version[0]}.npy", "wb") as file:
        np.lib.format.write_array(file, count((2, 3), "<f4"), version=version)
np.savez("stored.npz", x=count((4, 2), "<f4"), y=count((4,), "<i4"))
np.savez_compressed("deflated.npz", x=count((50, 20), "<f4"), label=count((50,), "u1"))


kept = []  # a TensorSpec holds an address only


def entry(dtype, shape, data):
    kept.append(np.frombuffer(data, "u1"))
    return TensorSpec(dtype=dtype, shape=shape, data_ptr=kept[-1].ctypes.data, data_len=len(data))


serialize_file({
    "net.w": entry("float32", [2, 3], count((2, 3), "<f4").tobytes()),
    "net.half": entry("float16", [3], count((3,), "<f2").tobytes()),
    "net.brain": entry("bfloat16", [2], struct.pack("<HH", 0x3f80, 0xc000)),
    "scalar": entry("int64", [], struct.pack("<q", -5)),
    "mask": entry("bool", [3], b"\1\0\1"),
    "bytes": entry("uint8", [5], bytes(range(5))),
    "none": entry("float32", [0, 4], b""),
}, "mixed.safetensors", metadata={"made by": "a \"test\"", "unit": "\u00b5m"})
serialize_file({
    "known": entry("float32", [1], struct.pack("<f", 1)),
    "short": entry("int16", [2], struct.pack("<hh", 1, 2)),
}, "foreign.safetensors", metadata=None)
serialize_file({"net.x": entry("float32", [], struct.pack("<f", 2.5))}, "point.safetensors", metadata=None)

pixels = count((3, 4), "u1") * 20
colours = np.stack([pixels, 255 - pixels, pixels // 2], 2)
Image.fromarray(pixels).save("gray.png")
Image.fromarray(colours).save("rgb.png")
Image.fromarray(np.concatenate([colours, pixels[..., None]], 2)).save("rgba.png")
Image.fromarray(colours).quantize(16).save("palette.png")
Image.fromarray((pixels > 100)).save("one_bit.png")
Image.fromarray(pixels.astype("u2") * 257).save("gray16.png")

images = struct.pack(">HBBIII", 0, 8, 3, 5, 4, 3) + count((5, 4, 3), "u1").tobytes()
with open("images-idx3-ubyte", "wb") as file:
    file.write(images)
with open("images-idx3-ubyte.gz", "wb") as file:
    file.write(gzip.compress(images, mtime=0))
with open("two_parts-idx3-ubyte.gz", "wb") as file:
    file.write(gzip.compress(images[:30], mtime=0) + gzip.compress(images[30:], mtime=0))
with open("f32-idx2.gz", "wb") as file:
    file.write(gzip.compress(struct.pack(">HBBII", 0, 13, 2, 2, 3) + count((2, 3), ">f4").tobytes(), mtime=0))
