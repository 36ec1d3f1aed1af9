"""What front ends show: rows read for tenants and operators. Nothing here writes."""
