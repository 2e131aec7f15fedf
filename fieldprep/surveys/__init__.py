"""What the surveys' services have, fetched, verified and kept."""
