"""The whole lifecycle on real data: `fivefold demo`, or `make demo`.

Will a flight from New York City arrive more than 15 minutes late, knowing only what is known at its scheduled
departure? Five real services answer, from the feature tables to predictions by key, and each step says what it learnt.
The services are started on free ports of this machine, in a data folder of the demo's own, and stopped at the end.
"""

from fivefold.demo.lifecycle import Options, main

__all__ = ["Options", "main"]
