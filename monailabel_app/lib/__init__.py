"""Parts of the app: settings, ids, guarded datastore, models, batch, HTTP front."""
