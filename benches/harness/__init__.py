"""What the benchmarks share: servers pinned to a core, data directories, wrk, the steady disk, tables."""
