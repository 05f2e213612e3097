"""`python -m fivefold` is the command `fivefold`."""

import sys

from fivefold.cli import main

sys.exit(main())
