"""The programs of the benchmarks in PyTorch and in JAX, for ./bootstrap bench.

    python peers.py pytorch_eager|pytorch_compile|jax_jit PROGRAM THREADS WEIGHTS

PROGRAM is train_step_ict, the training step of examples/ict.cm; or attention, unet or dit, of bench/kernels.cm and
bench/networks.cm, followed by _forward, _jvp or _grad.  WEIGHTS is how many numbers the weights of our network are: one with
others would be another network.  Prints the version when warm; then, for each line read, does a step and prints how many
milliseconds it took.  Sizes are read from the .cm files.  Weights are drawn, not loaded: the time is the same."""
import math
import os
import signal
import sys
import time

LONGEST_START = 600  # seconds: a peer that compiles for longer is not to be had


def timed(step):
    start = time.perf_counter()
    number = step()
    taken = time.perf_counter() - start
    if not math.isfinite(number):
        sys.exit("the peer's result is not finite")
    return taken


def prepare(peer, what, threads, weights):
    if peer == "jax_jit":
        import peer_jax as module
    else:
        import peer_torch as module
    step, count = module.prepare(what, threads, peer == "pytorch_compile")
    if count != weights:
        sys.exit(f"{peer} has {count} weights in {what}, and ours {weights}")
    step(), step()
    return step, module.VERSION


def give_up(*_):
    raise TimeoutError(f"not ready after {LONGEST_START} s")


def main():
    peer, what, threads, weights = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(LONGEST_START)
    try:
        step, version = prepare(peer, what, threads, weights)
    except Exception as reason:  # what a peer cannot do is no fault of the benchmark
        sys.exit(f"{peer} cannot do {what}: {str(reason).strip().splitlines()[0]}")
    signal.alarm(0)
    print(version, flush=True)
    for _ in sys.stdin:
        print(f"{timed(step) * 1e3:.3f}", flush=True)


if __name__ == "__main__":
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.pop(name, None)  # what a shell has set for others would slow the peers
    os.environ["JAX_PLATFORMS"] = "cpu"
    main()
