"""Completion of ``bundle`` in shells: what stands on their line, what could come next"""
