"""``python -m stem4d_panel`` is ``stem4d``."""

import sys

from stem4d_panel.cli import main

if __name__ == "__main__":
    sys.exit(main())
