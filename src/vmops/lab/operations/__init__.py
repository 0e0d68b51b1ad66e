"""What is done to a machine.

Here belongs the work behind the API's methods, one file for each subject; it takes a `Machine`.
"""
