"""Fine-tune the codec in Python, and save the result.

    python examples/fine_tune.py tuned.safetensors

`lacuna train codec --init small` trains for hours, with better losses; this is for a codec that is
trained as a part of something else.
"""

import sys
from pathlib import Path

import torch

import codec

SONG = Path(codec.__file__).parent / "examples" / "plucked.ogg"

torch.manual_seed(0)
model = codec.load()
before = model.latent_id
waveform, sample_rate = codec.read(SONG)
x = torch.from_numpy(codec.resample(waveform, sample_rate, model.sample_rate))[None, :1]
x = x[..., : model.sample_rate]


def distance(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    window = torch.hann_window(1024)
    a, b = (
        torch.stft(s.flatten(0, 1), 1024, window=window, return_complex=True).abs() for s in (x, y)
    )
    return ((a + 1e-4).log() - (b + 1e-4).log()).abs().mean()


model.autoencoder.requires_grad_(True)  # .decoder alone: old files stay valid
trained = [p for p in model.autoencoder.parameters() if p.requires_grad]
optimizer = torch.optim.Adam(trained, lr=1e-4)
for step in range(6):
    loss = distance(x, model(x))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(f"step {step}: distance {loss.item():.3f}")

model.save(sys.argv[1])
tuned = codec.load(sys.argv[1])
print(f"latent_id {before} -> {tuned.latent_id}")
