"""Files that survive kill -9: atomic writes, valid directories, the lease, processes that die with their parent."""
