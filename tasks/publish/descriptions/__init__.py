"""What stands beside a release's data for people and programs: codebook, Data Package, Croissant, data contract."""
