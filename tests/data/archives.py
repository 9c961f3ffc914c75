"""Archives as the data sets have them, made up."""

import io
import zipfile

CLIP = "train/section_00_source_train_normal_0000.wav"


def archive(*names, content=b"RIFF" + bytes(range(256)) * 40):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name in names:
            opened.writestr(name, content)
    return buffer.getvalue()
