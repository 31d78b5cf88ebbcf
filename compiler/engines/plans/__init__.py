"""What any engine needs that builds plans ahead of time: their files, their shapes, which one takes a call."""
