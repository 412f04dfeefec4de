"""ffmpeg's log is listened to only while somebody asks, and never makes a reader hang."""

import subprocess
import sys
from pathlib import Path
from threading import Barrier, Thread

import av

from vidswap.media.container import own_words

from .clips import make_clip

_DAMAGED = """
import sys
import av
from pathlib import Path
from vidswap.media import VideoReader
av.logging.set_level(av.logging.VERBOSE)  # as a caller may, whose lines go through Python
for _ in range(60):
    with VideoReader(Path(sys.argv[1])) as reader:
        next(iter(reader))
        reader.go_to(reader.first_pts, seek=False)
        next(iter(reader))
print("done")
"""


def test_listeners_in_several_threads_leave_it_as_it_was() -> None:
    barrier, heard = Barrier(2), list[str]()

    def first() -> None:
        with own_words() as words:
            barrier.wait()
            av.logging.log(av.logging.ERROR, "a", "mine")
        heard.extend(words)
        barrier.wait()

    def second() -> None:
        barrier.wait()
        with own_words():
            barrier.wait()

    threads = [Thread(target=first), Thread(target=second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard == ["mine"]
    assert av.logging.get_level() is None and av.logging.get_skip_repeated()


def test_a_damaged_clip_does_not_hang_where_the_log_is_listened_to(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mkv", size=(320, 240), frames=60, b_frames=2, key_every=60)
    content = bytearray(clip.read_bytes())
    for place in range(len(content) // 3, len(content), 97):
        content[place] ^= 0x55
    clip.write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", _DAMAGED, str(clip)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.stdout.strip().endswith("done"), done.stderr[-2000:]
