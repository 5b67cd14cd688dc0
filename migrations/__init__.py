"""The tables' versions, in order: ``versions/NNNN_what_it_does.py``, each with a way back."""
