"""Our codec where a diffusers training script has `vae`: one latent-diffusion step after another.

    python examples/diffusers_drop_in.py

Nothing of diffusers is needed for it: the adapter has the same methods and names.
"""

from pathlib import Path

import torch
from torch import nn

import codec
from codec.interop.adapter import DiffusersAutoencoder

SONG = Path(codec.__file__).parent / "examples" / "plucked.ogg"

torch.manual_seed(0)
vae = DiffusersAutoencoder(codec.load(), channels=1)
waveform, sample_rate = codec.read(SONG)
waveform = codec.resample(waveform.mean(axis=0, keepdims=True), sample_rate, vae.sampling_rate)
clips = torch.from_numpy(waveform)[:, : vae.sampling_rate].expand(2, 1, -1)

# From here on it is what a script for AutoencoderOobleck has.
latent_dim = vae.config.decoder_input_channels
denoiser = nn.Sequential(
    nn.Conv1d(latent_dim + 1, 64, 3, padding=1), nn.GELU(), nn.Conv1d(64, latent_dim, 3, padding=1)
)
optimizer = torch.optim.AdamW(denoiser.parameters(), lr=1e-3)
for step in range(21):
    with torch.no_grad():
        latents = vae.encode(clips).latent_dist.sample()
    latents = latents * vae.config.scaling_factor
    noise, t = torch.randn_like(latents), torch.rand(len(latents), 1, 1)
    noisy = (1 - t) * latents + t * noise
    velocity = denoiser(torch.cat([noisy, t.expand(-1, 1, latents.shape[2])], dim=1))
    loss = (velocity - (noise - latents)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 10 == 0:
        print(f"step {step}: loss {loss.item():.3f}")

with torch.no_grad():
    y = vae.decode(latents / vae.config.scaling_factor).sample
print(f"decoded: {tuple(y.shape)}")
