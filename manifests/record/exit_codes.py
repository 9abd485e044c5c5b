"""Exit codes that have a meaning of their own; imports nothing, so that asking for one is quick"""

#: EX_TEMPFAIL of sysexits.h: the run stopped at a checkpoint, and is to be resumed.
STOPPED_EXIT_CODE = 75
