"""The subcommands of `echobank`, grouped by who uses them. Each is the module of this package with its name."""

GROUPS = {
    "your own machines": {
        "fit": "learn a machine of your own from a folder of healthy recordings",
        "score": "score recordings against the bank of a machine",
        "explain": "say which seconds and which band of a recording are odd",
        "bank": "info, add, remove, merge, compact, calibrate, diff, undo",
        "watch": "score recordings as they land in a folder, and raise events",
        "listen": "listen live to a microphone, standard input or a network stream",
        "checkup": "check whether a bank is still good after months, since when it is not, and what to do",
        "trend": "print the history of a machine as CSV: windows, minutes or hours",
        "mute": "acknowledge the sound of an event: it does not alarm until it changes",
        "serve": "serve machines over HTTP: upload recordings, read verdicts and events",
        "export": "write a machine as one folder for a device, or an encoder as ONNX",
    },
    "the DCASE challenge": {
        "download": "fetch a DCASE Task 2 data set",
        "preprocess": "read and check every recording of a DCASE folder once",
        "train": "fill one memory bank per machine (scripts/train_knn.py)",
        "infer": "score test clips against the banks and write the CSVs",
        "evaluate": "official score of score CSVs (scripts/dcase_task2_scoring.py)",
        "decide": "decide again on stored scores, at another false-alarm rate",
        "study": "compare many settings on the same embeddings",
        "report": "write the page of a run: report.html",
    },
    "encoders": {
        "weights": "list encoders, fetch and check their weights",
        "finetune": "fine-tune the encoder on normal clips, or adapt a bank to a handful (scripts/finetune.py)",
        "distil": "make a small BEATs of your own from other encoders",
    },
    "many machines": {
        "fleet": "embed, fit and score many machines on Ray",
    },
    "first steps": {
        "doctor": "check what is installed and available, and score one tiny recording",
        "synth": "write a synthetic data set in the DCASE 2025 layout",
    },
}
COMMANDS = {name: text for commands in GROUPS.values() for name, text in commands.items()}


def overview() -> str:
    """Return the list of commands, one per line under the title of its group."""
    width = max(map(len, COMMANDS)) + 2
    groups = (
        "\n".join([f"{title}:", *(f"  {name:<{width}}{text}" for name, text in commands.items())])
        for title, commands in GROUPS.items()
    )
    return "\n\n".join(groups)
