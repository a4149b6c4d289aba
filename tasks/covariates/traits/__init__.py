"""Traits of a table that every synthesizer keeps: what stands between canonical covariates and the synthesizer.

A trait is learnt from the training rows. It encodes the table before a synthesizer is fitted and decodes what the synthesizer draws.
"""
