"""An example of a speech plugin: a transcriber and a speaker provider.

They import only what plugins may rely on: `interview_edge` and `interview_edge.speech`.
"""
