"""The API's managed objects and nothing else, one file each, found by the API's name.

Here belongs what a client can call: a method checks its arguments and hands on, for machines to
`operations`.
"""
