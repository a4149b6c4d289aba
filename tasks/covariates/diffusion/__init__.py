"""Diffusion by flow matching: cells, denoiser, schedule."""
