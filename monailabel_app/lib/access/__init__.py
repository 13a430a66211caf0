"""Who may use the server: user accounts, sign-in, roles, and the audit log."""
