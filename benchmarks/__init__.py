"""Measurements that print a table and keep it under results/."""
