"""The protocol between bridges, and the words all processes share.

This room imports no other room of ours.
"""
