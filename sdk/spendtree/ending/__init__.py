"""How a call ended that gave no usage: surely not billed, or unknown. Pure; imports no client.

`endings` is the table of which failures are which, and by what source; `judging` walks it. What is
not in the table is unclear, and unclear money is presumed spent (rule 3). One attempt is judged: a
client that retries by itself hides the attempts before its last, so its retries must be off.
"""

from spendtree.ending.endings import ENDINGS, Ending
from spendtree.ending.judging import NOT_BILLED_STATUS, not_billed, table, was_answered

__all__ = ["ENDINGS", "NOT_BILLED_STATUS", "Ending", "not_billed", "table", "was_answered"]
