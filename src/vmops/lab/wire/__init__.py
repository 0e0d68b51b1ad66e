"""The lab's protocols: SOAP over HTTPS, datastore files, NFC leases, screens."""
