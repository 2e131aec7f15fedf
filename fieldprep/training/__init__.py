"""Training sets and cutout sets, from fields and their catalogues."""
