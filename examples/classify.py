"""A linear classifier on latents: tone, noise or clicks, at any length, in padded batches.

python examples/classify.py
"""

import torch
from torch import Tensor, nn

import codec

CLASSES = ("tone", "noise", "clicks")

torch.manual_seed(0)
model = codec.load()


def sound(kind: str, samples: int) -> Tensor:
    if kind == "noise":
        return 0.1 * torch.randn(samples)
    if kind == "clicks":
        return (torch.rand(samples) > 0.9995).float()
    hz = 200 + 800 * torch.rand(())
    return 0.3 * torch.sin(2 * torch.pi * hz * torch.arange(samples) / model.sample_rate)


def batch(count: int) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each latent over time, and the class."""
    labels = torch.randint(len(CLASSES), (count,))
    length = torch.randint(model.sample_rate // 4, model.sample_rate // 2, (count,)).tolist()
    x = torch.zeros(count, 1, max(length))
    for item, (label, samples) in enumerate(zip(labels, length, strict=True)):
        x[item, 0, :samples] = sound(CLASSES[label], samples)
    with torch.inference_mode():
        z = model.encode(x, length=length)[:, 0]  # (batch, latent_dim, frames)
    pooled = []
    for latents, samples in zip(z.clone(), length, strict=True):
        own = latents[:, : model.frames(samples)]  # beyond it there is padding
        pooled.append(torch.cat([own.mean(dim=1), own.std(dim=1)]))
    return torch.stack(pooled), labels


features, labels = batch(48)
unseen, answers = batch(24)
classifier = nn.Linear(2 * model.latent_dim, len(CLASSES))
optimizer = torch.optim.Adam(classifier.parameters(), lr=0.05)
for _ in range(60):
    loss = nn.functional.cross_entropy(classifier(features), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
correct = (classifier(unseen).argmax(dim=1) == answers).float().mean()
print(f"accuracy on sounds it never saw: {correct:.2f}")
