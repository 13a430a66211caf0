"""FetalIQA's own endpoints, ``/fetaliqa/v1``, which the page in the browser uses."""

PREFIX = "/fetaliqa/v1"
