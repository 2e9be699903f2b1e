"""The suite runs on the plugin that users copy."""

pytest_plugins = [
    "examples.testing_patterns.plugin",
    "examples.testing_patterns.no_skips",
    "pytester",
]
