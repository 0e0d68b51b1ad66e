"""A machine is made of another one.

Here belongs what a clone asks for and gets; disks are copied or stood upon by `storage`.
"""
