"""From recordings to the models that Kapok ships: speech factory, network, training, export, evaluation.

Stages, each a module with a command line (``python -m training.<stage> --help``):

1. ``corpus``     the recordings and their labels, split by speaker
2. ``factory``    labelled utterances without end: real, spliced and synthetic speech over many lines
3. ``train``      one TDNN-F with an output layer for each language, CTC loss
4. ``lm``         words, pronunciations and the n-gram
5. ``export``     a directory that ``vosk.Model`` loads
6. ``evaluate``   syllable and character error, language decision, real-time factor
"""
