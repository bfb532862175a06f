"""Speaks sentences at known times between digital silence: voice.py FOLDER writes FOLDER/voice.wav (48 kHz, mono, 16 bits) and FOLDER/voice.json, the spans of speech in seconds.

The truth is by construction: espeak-ng speaks each sentence alone, what is below a thousandth of the sentence's peak is cut off at both ends, and the rest is put at its time.
"""

import array
import json
import pathlib
import subprocess
import sys
import wave

RATE = 48000
SECONDS = 20
SENTENCES = [  # they end in sounds that do not die away
    (1.0, "Water runs through them, and nobody has to wait."),
    (6.0, "Every frame gets a result, a drop, or an error with its code."),
    (12.0, "At ten the gates are shut."),
    (15.5, "And then they sleep until it is light."),
]


def speak(text: str, folder: pathlib.Path) -> array.array:
    """Gives a sentence as samples, without the silence around it."""
    spoken, resampled = folder / "sentence.wav", folder / "sentence.raw"
    subprocess.run(["espeak-ng", "-v", "en-us", "-s", "150", "-w", spoken, text], check=True)
    subprocess.run(["ffmpeg", "-nostdin", "-loglevel", "error", "-y", "-i", spoken, "-ar", str(RATE), "-ac", "1", "-f", "s16le", resampled], check=True)
    samples = array.array("h", resampled.read_bytes())
    spoken.unlink()
    resampled.unlink()
    floor = max(map(abs, samples)) // 1000
    loud = [i for i, sample in enumerate(samples) if abs(sample) > floor]
    return samples[loud[0] : loud[-1] + 1]


def main(folder: pathlib.Path) -> None:
    """Writes the clip and its truth."""
    track = array.array("h", bytes(2 * RATE * SECONDS))
    spans = []
    for start, text in SENTENCES:
        samples = speak(text, folder)
        at = int(start * RATE)
        track[at : at + len(samples)] = samples
        spans.append({"start": start, "end": round(start + len(samples) / RATE, 3)})
    with wave.open(str(folder / "voice.wav"), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(track.tobytes())
    (folder / "voice.json").write_text(json.dumps({"seconds": SECONDS, "speech": spans}) + "\n")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
