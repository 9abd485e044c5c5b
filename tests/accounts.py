"""Commands as an account that does not own everything, whoever runs the tests"""

from __future__ import annotations

import os
from typing import List

#: Before a command: root without the right to read what its owner closed (capabilities(7)).
WITHOUT_RIGHTS: List[str] = []
if os.geteuid() == 0:
    lost = "-dac_override,-dac_read_search"
    WITHOUT_RIGHTS = ["setpriv", f"--bounding-set={lost}", f"--inh-caps={lost}", "--"]
