# pyVmomi's own stubs describe the types of its services. These describe what the types stand on.
