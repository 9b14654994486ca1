"""Second stage: latent diffusion over the codec's latents (in preparation)."""
