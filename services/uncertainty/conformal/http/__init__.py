"""The public HTTP interface: routes, and how their requests are parsed."""
