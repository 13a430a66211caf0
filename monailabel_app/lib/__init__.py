"""Packages of the app: startup, http, files, datastore, tasks, api, dicomweb; see docs/server.md, "Code"."""
