"""Who may do what, and how much (contract gateway.md, Auth and Usage)."""
