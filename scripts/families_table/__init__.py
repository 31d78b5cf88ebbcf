"""Every family through the whole pipeline: what scripts/families runs."""
