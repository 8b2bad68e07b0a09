# SPDX-License-Identifier: MIT
"""One GStreamer session, run by the system's own interpreter (``/usr/bin/python3``, package python3-gi).

``gst_session.py ELEMENT URL TIMEOUT_S TARGET_S...`` plays to the end, seeks to each target, reaches
the end again, and prints what it saw as one JSON object. It knows nothing of our package: PyGObject
is not in our environment.
"""

from __future__ import annotations

import json
import sys
import time

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gst  # noqa: E402 - the version must be required first

_VIDEO_AND_AUDIO = 0x3  # GstPlayFlags: no text, no visualisations, no volume element that fakesink lacks


class Session:
    """A playbin with sinks that show nothing, wait for no clock, and write down each picture's time."""

    def __init__(self, element: str, url: str, timeout_s: float) -> None:
        self.times_s: list[float] = []
        self.arrived_s: float | None = None
        self.errors: list[str] = []
        self._ends_s = time.monotonic() + timeout_s
        self._playbin = Gst.ElementFactory.make(element)
        video = self._sink()
        video.set_property("signal-handoffs", True)
        video.connect("preroll-handoff", self._prerolled)
        video.connect("handoff", self._shown)
        for name, value in (
            ("video-sink", video),
            ("audio-sink", self._sink()),
            ("flags", _VIDEO_AND_AUDIO),
            ("uri", url),
        ):
            self._playbin.set_property(name, value)

    @staticmethod
    def _sink() -> Gst.Element:
        sink = Gst.ElementFactory.make("fakesink")
        sink.set_property("sync", False)
        return sink

    @staticmethod
    def _stream_time_s(buffer: Gst.Buffer, pad: Gst.Pad) -> float:
        segment = pad.get_sticky_event(Gst.EventType.SEGMENT, 0).parse_segment()
        return segment.to_stream_time(Gst.Format.TIME, buffer.pts) / Gst.SECOND

    def _prerolled(self, _sink: Gst.Element, buffer: Gst.Buffer, pad: Gst.Pad) -> None:
        self.arrived_s = self._stream_time_s(buffer, pad)

    def _shown(self, _sink: Gst.Element, buffer: Gst.Buffer, pad: Gst.Pad) -> None:
        self.times_s.append(self._stream_time_s(buffer, pad))

    def _wait(self, wanted: Gst.MessageType) -> bool:
        """Wait for a message; an error of the pipeline, or no time left, is the end of the session."""
        bus = self._playbin.get_bus()
        while not self.errors:
            left_s = self._ends_s - time.monotonic()
            if left_s <= 0:
                self.errors.append("timed out")
                break
            message = bus.timed_pop_filtered(int(min(left_s, 1) * Gst.SECOND), wanted | Gst.MessageType.ERROR)
            if message and message.type == Gst.MessageType.ERROR:
                self.errors.append(message.parse_error()[0].message)
            elif message:
                return True
        return False

    def preroll(self) -> bool:
        """Come to the first picture."""
        self._playbin.set_state(Gst.State.PAUSED)
        return self._wait(Gst.MessageType.ASYNC_DONE)

    def run_to_end(self) -> bool:
        """Play until the end of the stream."""
        self._playbin.set_state(Gst.State.PLAYING)
        return self._wait(Gst.MessageType.EOS)

    def seek(self, target_s: float) -> float | None:
        """Seek while paused, to the very picture; give the time of the picture that is then shown."""
        self._playbin.set_state(Gst.State.PAUSED)
        self._playbin.get_state(int(Gst.SECOND * 10))
        self.arrived_s = None
        flags = Gst.SeekFlags.FLUSH | Gst.SeekFlags.ACCURATE
        if not self._playbin.seek_simple(Gst.Format.TIME, flags, int(target_s * Gst.SECOND)):
            self.errors.append(f"seeking to {target_s} s was refused")
        self._wait(Gst.MessageType.ASYNC_DONE)
        return self.arrived_s

    def close(self) -> None:
        """Give everything back."""
        self._playbin.set_state(Gst.State.NULL)


def main(element: str, url: str, timeout_s: float, targets_s: list[float]) -> None:
    """Play, seek, end; print the findings."""
    Gst.init(None)
    session = Session(element, url, timeout_s)
    seen = {"whole_s": [], "arrived_s": [], "after_seek_s": [], "ends": []}
    if session.preroll():
        seen["ends"].append(session.run_to_end())
    seen["whole_s"], session.times_s = session.times_s, []
    for target_s in targets_s if not session.errors else []:
        seen["arrived_s"].append(session.seek(target_s))
    if not session.errors:
        seen["ends"].append(session.run_to_end())
    seen["after_seek_s"] = session.times_s
    print(json.dumps({**seen, "errors": session.errors}), flush=True)
    session.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), [float(text) for text in sys.argv[4:]])
