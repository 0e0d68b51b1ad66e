"""A machine moves to another host or other datastores.

Here belongs each step of a move: what is asked for, whether it can be, and how it is carried out.
"""
