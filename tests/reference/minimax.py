"""Minimax coefficients for passes/expand_series.def: prints them.  Needs mpmath."""
import mpmath as mp

mp.mp.dps = 60


def chebyshev(a, b, n):
    return [(a + b) / 2 + (b - a) / 2 * mp.cos(mp.pi * (2 * i + 1) / (2 * n)) for i in range(n)][::-1]


def solve_at(f, w, nodes, n, m, level):
    """Coefficients p (n), q (m, after a leading 1) and the levelled error at the nodes; `level` linearises the product with q."""
    size = n + m + 1
    A, rhs = mp.matrix(size, size), mp.matrix(size, 1)
    for i, x in enumerate(nodes):
        sign = (-1) ** i
        target = f(x) + (sign * level / w(x))
        for j in range(n):
            A[i, j] = x ** j
        for j in range(m):
            A[i, n + j] = -target * x ** (j + 1)
        A[i, n + m] = -sign / w(x)
        rhs[i] = f(x)
    sol = mp.lu_solve(A, rhs)
    return [sol[i] for i in range(n)], [sol[n + j] for j in range(m)], sol[n + m]


def extrema(error, a, b, count):
    grid = chebyshev(a, b, 40 * count)
    grid = [mp.mpf(a)] + grid + [mp.mpf(b)]
    values = [error(x) for x in grid]
    found = []
    for i, v in enumerate(values):
        if found and (v > 0) == (found[-1][1] > 0):
            if abs(v) > abs(found[-1][1]):
                found[-1] = (grid[i], v)
        else:
            found.append((grid[i], v))
    while len(found) > count:
        found.pop(0 if abs(found[0][1]) < abs(found[-1][1]) else -1)
    return found


def remez(f, w, a, b, n, m=0, rounds=12):
    """n numerator coefficients and m of the denominator after the leading 1, of the best fit of f with weight w."""
    a, b = mp.mpf(a), mp.mpf(b)
    nodes, level = chebyshev(a, b, n + m + 1), mp.mpf(0)
    for _ in range(rounds):
        for _ in range(1 if m == 0 else 6):
            p, q, level = solve_at(f, w, nodes, n, m, level if m else 0)

        def error(x):
            return w(x) * (sum(c * x ** i for i, c in enumerate(p)) / (1 + sum(c * x ** (i + 1) for i, c in enumerate(q))) - f(x))
        found = extrema(error, a, b, n + m + 1)
        worst = max(abs(v) for _, v in found)
        if len(found) < n + m + 1:
            break
        nodes = [x for x, _ in found]
        if worst < abs(level) * mp.mpf('1.001'):
            break
    return p, q, worst


def show(name, coefs, worst, single):
    text = ', '.join(mp.nstr(c, 10 if single else 18) for c in coefs)
    print('/* %s: error %s */\n{%s}, /* %d */' % (name, mp.nstr(worst, 3), text, len(coefs)))


def series_safe(f, at_zero):
    return lambda x: at_zero if abs(x) < mp.mpf(10) ** -15 else f(x)


LN2 = mp.log(2)
H = LN2 / 2 * mp.mpf('1.0001')


def fit_exp(n):
    f = series_safe(lambda r: (mp.exp(r) - 1 - r) / r ** 2, mp.mpf(1) / 2)
    return remez(f, lambda r: r * r / mp.exp(r) if abs(r) > 1e-9 else mp.mpf(10) ** -18, -H, H, n)


def fit_log(n):
    top = mp.mpf('0.1716') ** 2
    f = series_safe(lambda z: (mp.log((1 + mp.sqrt(z)) / (1 - mp.sqrt(z))) / mp.sqrt(z) - 2) / z, mp.mpf(2) / 3)
    return remez(f, lambda z: z + mp.mpf(10) ** -6, 0, top, n)


def fit_sin(n):
    f = series_safe(lambda z: (mp.sin(mp.sqrt(z)) / mp.sqrt(z) - 1) / z, mp.mpf(-1) / 6)
    return remez(f, lambda z: z + mp.mpf(10) ** -6, 0, (mp.pi / 4 * mp.mpf('1.001')) ** 2, n)


def fit_cos(n):
    f = lambda z: mp.mpf(1) / 24 if abs(z) < mp.mpf(10) ** -15 else (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z ** 2
    return remez(f, lambda z: z * z + mp.mpf(10) ** -6, 0, (mp.pi / 4 * mp.mpf('1.001')) ** 2, n)


def fit_atan(n):
    f = series_safe(lambda z: (mp.atan(mp.sqrt(z)) / mp.sqrt(z) - 1) / z, mp.mpf(-1) / 3)
    return remez(f, lambda z: z + mp.mpf(10) ** -6, 0, 1, n)


def fit_erf_near(n, top):
    """erf(x) = x + x P(x^2)."""
    f = lambda z: (mp.erf(mp.sqrt(z)) / mp.sqrt(z) if z > mp.mpf(10) ** -20 else 2 / mp.sqrt(mp.pi)) - 1
    return remez(f, lambda z: mp.mpf(1), 0, mp.mpf(top) ** 2, n)


def fit_erf_far(n, low, high, middle):
    """1 - erf(x) = exp(-h(x - middle))."""
    f = lambda t: -mp.log(mp.erfc(t + middle))
    return remez(f, lambda t: mp.erfc(t + middle), mp.mpf(low) - middle, mp.mpf(high) - middle, n)


def fit_exp2_fast(n):
    """2^f = 1 + f P(f)."""
    f = series_safe(lambda t: (mp.mpf(2) ** t - 1) / t, LN2)
    return remez(f, lambda t: max(abs(t), mp.mpf(10) ** -9) / mp.mpf(2) ** t, -mp.mpf('0.5001'), mp.mpf('0.5001'), n)


def fit_log_fast(n):
    """log(1 + f) = f P(f)."""
    f = series_safe(lambda t: mp.log(1 + t) / t, mp.mpf(1))
    return remez(f, lambda t: 1 / f(t), mp.sqrt(0.5) - 1, mp.sqrt(2) - 1, n)


def fit_erf_fast(n, top):
    """erf(x) = x P(x^2); an odd n and this top end above 1."""
    f = lambda z: mp.erf(mp.sqrt(z)) / mp.sqrt(z) if z > mp.mpf(10) ** -20 else 2 / mp.sqrt(mp.pi)
    return remez(f, lambda z: 1 / f(z), 0, mp.mpf(top) ** 2, n)


def erfinv_over_x(w):
    """erfinv(x) / x where w = -log(1 - x^2)."""
    if w < mp.mpf(10) ** -20:
        return mp.sqrt(mp.pi) / 2
    with mp.workdps(90):
        x = mp.sqrt(-mp.expm1(-w))
        return mp.erfinv(x) / x


def fit_erfinv(n, low, high, middle, root):
    """P(w - middle), or P(sqrt(w) - middle)."""
    f = (lambda t: erfinv_over_x((t + middle) ** 2)) if root else (lambda t: erfinv_over_x(t + middle))
    return remez(f, lambda t: 1 / f(t), mp.mpf(low) - middle, mp.mpf(high) - middle, n, rounds=6)


if __name__ == '__main__':
    import sys
    pick = sys.argv[1:]
    jobs = [
        ('exp', lambda: fit_exp(5), 1), ('exp', lambda: fit_exp(11), 0),
        ('log', lambda: fit_log(4), 1), ('log', lambda: fit_log(9), 0),
        ('sin', lambda: fit_sin(3), 1), ('sin', lambda: fit_sin(6), 0),
        ('cos', lambda: fit_cos(3), 1), ('cos', lambda: fit_cos(6), 0),
        ('atan', lambda: fit_atan(9), 1), ('atan', lambda: fit_atan(20), 0),
        ('erf_near', lambda: fit_erf_near(7, '0.93'), 1), ('erf_near', lambda: fit_erf_near(12, '0.93'), 0),
        ('erf_far', lambda: fit_erf_far(9, '0.92', '4.0', mp.mpf(1)), 1),
        ('erf_far', lambda: fit_erf_far(20, '0.92', '6.0', mp.mpf(1)), 0),
        ('erfinv_a', lambda: fit_erfinv(10, 0, 5, mp.mpf('2.5'), False), 1),
        ('erfinv_b', lambda: fit_erfinv(9, mp.sqrt(5), 4, mp.mpf(3), True), 1),
        ('erfinv_a', lambda: fit_erfinv(23, 0, '6.25', mp.mpf('3.125'), False), 0),
        ('erfinv_b', lambda: fit_erfinv(19, '2.5', 4, mp.mpf('3.25'), True), 0),
        ('erfinv_c', lambda: fit_erfinv(18, 4, '6.1', mp.mpf(5), True), 0),
        ('exp2_fast', lambda: fit_exp2_fast(4), 1), ('log_fast', lambda: fit_log_fast(6), 1),
        ('sin_fast', lambda: fit_sin(2), 1), ('cos_fast', lambda: fit_cos(1), 1),
        ('erf_fast', lambda: fit_erf_fast(9, '3.05'), 1),
    ]
    for name, job, single in jobs:
        if not pick or name in pick:
            p, q, worst = job()
            show(name, p, worst, single)
            sys.stdout.flush()
