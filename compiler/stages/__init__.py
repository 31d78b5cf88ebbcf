"""The stages of a build, a module each, in the order of `pipeline.build`.

`key(...)` names a result by all that decides it, without making it. `run(...)` gives it as a `cache.Artifact`, from the
cache where it is there. A stage's heavy imports happen only when it really runs.
"""
