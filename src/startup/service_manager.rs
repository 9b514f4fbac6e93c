//! Tells a service manager how far this process is (`sd_notify(3)`): ready, or stopping.
//!
//! A datagram of text to the socket that `NOTIFY_SOCKET` names; nothing happens where it names none. systemd's units of
//! `Type=notify` wait for the first one, so that whatever is ordered after the gateway finds it serving.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It serves.
    Ready,
    /// It finishes what it has begun.
    Stopping,
}

/// Tells it. A manager that does not listen is no reason to stop.
pub(super) fn tell(progress: Progress) {
    let Ok(socket) = std::env::var("NOTIFY_SOCKET") else { return };
    let text = match progress {
        Progress::Ready => "READY=1",
        Progress::Stopping => "STOPPING=1",
    };
    if let Err(error) = send(&socket, text) {
        tracing::warn!(%error, text, "the service manager could not be told");
    }
}

fn send(socket: &str, text: &str) -> io::Result<()> {
    let address = match socket.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(text.as_bytes(), &address)?;
    Ok(())
}
