"""What comes out of checkpoints that sentence-transformers wrote, beside what the library itself gives."""
