"""Looking into the latent space: arithmetic, scores, maps and probes."""
