"""Samplers propose the next network and decide at each rung whether to continue training."""
