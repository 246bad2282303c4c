"""`python -m prorl.cli`, where the command `prorl` is not installed."""

import sys

from prorl.cli.app import main

sys.exit(main())
