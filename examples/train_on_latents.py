"""A frozen codec in a training loop: a small network learns the next latent frame.

python examples/train_on_latents.py
"""

from pathlib import Path

import torch
from torch import nn

import codec

SONG = Path(codec.__file__).parent / "examples" / "plucked.ogg"

torch.manual_seed(0)
model = codec.load()  # frozen, in evaluation mode
waveform, sample_rate = codec.read(SONG)
x = torch.from_numpy(codec.resample(waveform, sample_rate, model.sample_rate))
with torch.inference_mode():
    z = model.encode(x[None])[0, 0]  # mid, or left: (latent_dim, frames)
z = z.clone()  # a tensor that training may use

predictor = nn.Sequential(
    nn.ConstantPad1d((2, 0), 0.0),  # sees three frames, none of the future
    nn.Conv1d(model.latent_dim, 128, 3),
    nn.GELU(),
    nn.Conv1d(128, model.latent_dim, 1),
)
optimizer = torch.optim.AdamW(predictor.parameters(), lr=2e-3)
for step in range(61):
    loss = (predictor(z[None, :, :-1]) - z[None, :, 1:]).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 20 == 0:
        print(f"step {step}: loss {loss.item():.3f}")  # latents have variance 1
