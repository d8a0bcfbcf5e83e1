"""`python -m mspipe` is the command `mspipe`."""

import sys

from ._command import main

sys.exit(main())
