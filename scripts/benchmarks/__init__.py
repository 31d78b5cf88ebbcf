"""The project's own figures against its peers, each engine in a process of its own, all from one run on one machine."""
