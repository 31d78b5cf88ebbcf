"""Every reader of files and arguments that others made, given thousands of broken and hostile ones.

`mutate` makes them out of valid ones, `reader` says what must hold, each test module lists the readers of one part.
`scripts/fuzz` runs the same with more cases, in processes whose memory is limited.
"""
