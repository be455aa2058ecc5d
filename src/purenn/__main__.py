"""``python -m purenn``: the command line."""

import sys

from purenn.cli import main

sys.exit(main())
