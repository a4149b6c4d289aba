"""What the flows share, one file a noun: source, nuisances, copies, measures, verdicts, runs."""
