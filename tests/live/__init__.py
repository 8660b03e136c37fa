"""Chains between real interfaces: the kernel's own stacks, in network namespaces, talk through fajita."""
