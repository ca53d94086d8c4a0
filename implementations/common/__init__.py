"""What every room shares: conventions, configs, initial values, and the small layers of both frameworks."""
