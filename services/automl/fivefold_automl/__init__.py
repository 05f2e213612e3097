"""Fivefold's AutoML service: jobs that search for a good model within a time budget, with trials on Ray."""

import os

# Read when grpc is imported. Ray's processes are forked and executed at once, so gRPC has nothing to keep safe there: its
# handlers would write a warning among the log lines, and now and then crash the child before it becomes Ray's.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
