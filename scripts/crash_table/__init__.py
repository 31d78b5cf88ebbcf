"""What a damaged cache and a kill do to the next build, counted: `scripts/crash_trials`."""
