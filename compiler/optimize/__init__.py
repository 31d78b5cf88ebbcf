"""From the portable model to a model lowered for one profile. Start reading in `lower.py`."""
