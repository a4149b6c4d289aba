"""The steps of the work, each a package, and the contract between them."""
