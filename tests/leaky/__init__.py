"""Synthesizers and a learner that leak on purpose: test subjects for gates and audits, offered as a plug-in would be.

Put this folder on the import path and their entry points are found; nothing of it is installed.
"""
