"""Adversarial and variational networks: encoding, training by sampling, corrected margins."""
