"""The lab's protocols: SOAP over HTTPS, datastore files, NFC leases, screens.

Here belongs what bytes on a socket mean; what they ask for is done by managed objects.
"""
