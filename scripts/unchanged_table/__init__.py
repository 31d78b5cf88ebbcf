"""What a release does, compared between two commits; see scripts/unchanged."""
