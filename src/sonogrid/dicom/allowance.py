"""What the process that decodes compressed frames may use of the machine.

No pixel depends on it: a frame is decoded or its file is refused. An edit here makes no look or canvas again
(`images/code.py`).
"""

from __future__ import annotations

DECODER_BYTES = 2 * 2**30
"""Address space of the process."""
DECODER_SECONDS = 60.0
"""Time for one frame; 800 x 600 pixels take a tenth of a second."""
