"""The mechanisms of A and Y: learners, cross-fitting, targeting, calibration and draws."""
