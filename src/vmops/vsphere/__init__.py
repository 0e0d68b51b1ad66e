"""The vSphere client: one file per managed object, and the session beneath them.

Nothing above this package sees a fault of the wire; managed object references travel opaquely.
"""
