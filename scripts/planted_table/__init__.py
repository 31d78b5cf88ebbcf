"""Every planted fault on trial: what scripts/planted_faults runs."""
