"""A camera: GStreamer's RTSP server with sound and pictures, run by Debian's Python. Prints what clients set up."""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer

Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(sys.argv[1])
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(
    "( videotestsrc is-live=true ! video/x-raw,format=I420,width=64,height=48,framerate=5/1 "
    "! jpegenc ! rtpjpegpay name=pay0 pt=26 "
    "audiotestsrc is-live=true wave=white-noise volume=0.1 ! audio/x-raw,rate=48000,channels=1 ! audioconvert "
    "! opusenc ! rtpopuspay name=pay1 pt=97 )"
)
factory.set_shared(True)
server.get_mount_points().add_factory("/live", factory)


def say(line):
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def connected(_server, client):
    client.connect("setup-request", lambda _client, context: say(f"setup {context.uri.abspath}"))


server.connect("client-connected", connected)
server.attach(None)
say("ready")
GLib.MainLoop().run()
