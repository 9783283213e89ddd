"""Outages, churn, slow nodes, partitions and the failure detector."""
