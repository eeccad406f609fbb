"""What people read: tables, figures, panels, report."""
