"""From a plan to answers: which one fits this machine, its memory, its calls, its generations."""
