"""The class `VMwareVMOps`, its themes, and the reading of Nova's shapes."""
