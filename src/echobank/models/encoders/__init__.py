"""Encoders besides BEATs: SoundNet, fine spectrum, log-mel statistics, ONNX files, and several side by side."""
