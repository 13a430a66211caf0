"""What every request passes and every answer obeys: hosts, origins, limits, names, JSON, errors."""
