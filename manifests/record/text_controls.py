"""Characters that are no part of a line: they end it, move the cursor, or turn what follows"""

from __future__ import annotations

#: For a class of a regular expression: C0 and C1 controls (ECMA-48), line ends of Unicode, and what
#: turns the direction of the text after it (Unicode Standard Annex 9, explicit directions).
CONTROLS = r"\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069"
