"""The Space: see https://huggingface.co/docs/hub/spaces-config-reference for the files beside this one."""

from pathlib import Path

from sgd_hf.release.space.demo import serve

if __name__ == "__main__":
    serve(Path(__file__).resolve().parent)
