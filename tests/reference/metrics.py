"""Results of metrics.cm: by the definitions, over all pairs at once."""
import torch
import torch.nn.functional as F

from reference import Results, draw, draw_integers

N, M, D, E, K = 700, 300, 6, 7, 3
results = Results()
x, y = draw("x", N, D), 0.7 * draw("y", M, D) + 0.25


def square_root(c):
    values, vectors = torch.linalg.eigh(c)
    return vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T


def frechet(a, b):
    c, e, root = torch.cov(a.T), torch.cov(b.T), square_root(torch.cov(a.T))
    cross = torch.linalg.eigvalsh(root @ e @ root).clamp(min=0).sqrt().sum()
    return ((a.mean(0) - b.mean(0)) ** 2).sum() + c.trace() + e.trace() - 2 * cross


def kernel(a, b):
    return (a @ b.T / a.shape[1] + 1) ** 3


def mean_of_others(k):
    n = len(k)
    return (k.sum() - k.trace()) / (n * (n - 1))


for case in "moments", "moments_f32":
    results.put(case, mean=x.mean(0), covariance=torch.cov(x.T))
for case in "frechet", "frechet_f32":
    results.put(case, **{"": frechet(x, y)})
results.put("frechet_singular", **{"": frechet(torch.cat([x, 2 * x], 1), torch.cat([y, 0 * y], 1))})
results.put("frechet_same", **{"": torch.tensor(1.0)})
energy = 2 * torch.cdist(x, y).mean() - torch.cdist(x, x).mean() - torch.cdist(y, y).mean()
for case in "energy", "energy_f32":
    results.put(case, **{"": energy})
mmd = mean_of_others(kernel(x, x)) + mean_of_others(kernel(y, y)) - 2 * kernel(x, y).mean()
for case in "kernel", "kernel_f32":
    results.put(case, **{"": mmd})

for case, size in ("eigen_even", D), ("eigen_odd", E), ("eigen_f32", E):
    a = draw("a", size, size)
    results.put(case, matrix=a + a.T, unit=torch.eye(size), trace=2 * a.trace(), root=square_root(a @ a.T),
                factor=torch.linalg.cholesky(a @ a.T), of_rank_two=a[:, :2] @ a[:, :2].T)

logits, label = draw("logits", N, K).requires_grad_(), draw_integers("i", K, N)
results.put("accuracy", **{"": (logits.argmax(1) == label).double().mean()})
loss = F.cross_entropy(logits, label)
loss.backward()
results.put("cross_entropy", loss=loss, g=logits.grad[:5])
results.put("cross_entropy_large", **{"": F.cross_entropy(1000 * logits, label)})

d, dd = draw("x", N, D)[:5], draw("dx", N, D)[:5]


def huber(v):
    c = 0.3 * D**0.5
    return torch.sqrt((v**2).sum(1) + c**2) - c


value, tangent = torch.func.jvp(huber, (d,), (dd,))
results.put("pseudo_huber", y=value, dy=tangent, g=torch.func.grad(lambda v: huber(v).sum())(d))
results.save(__file__)
