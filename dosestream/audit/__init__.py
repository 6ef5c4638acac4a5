"""What the listeners did, for those who have to account for it: `radiology.audit.v1`."""
