"""The nuisance functions g and Q: learners, and the cross-fit that keeps every row from the models that predict it."""
