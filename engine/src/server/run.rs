//! Listening, and stopping in order: no new requests, then the ones under way, then the log's last commit.

use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;

use super::{Server, router};

/// Why the server can't listen or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another process has the port.
    #[error("port {port} is in use by another program; take another with --port, or 0 for any free one")]
    InUse {
        /// The port.
        port: u16,
    },
    /// The address can't be listened on.
    #[error("can't listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's word.
        source: std::io::Error,
    },
    /// Serving broke.
    #[error("the server stopped: {0}")]
    Stopped(#[from] std::io::Error),
    /// The log couldn't be brought to a commit point.
    #[error("the audit log couldn't be closed in order: {0}; it recovers when it is opened again")]
    Log(String),
}

/// Takes the address; port 0 takes any free port.
///
/// # Errors
/// When the port is in use or the address can't be listened on.
pub async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let listen = |source: std::io::Error| match source.kind() {
        ErrorKind::AddrInUse => ServeError::InUse { port: address.port() },
        _ => ServeError::Listen { address, source },
    };
    let listener = TcpListener::bind(address).await.map_err(listen)?;
    let bound = listener.local_addr().map_err(listen)?;
    Ok((listener, bound))
}

/// Serves until `stop` ends, then finishes what is under way and flushes the log.
///
/// # Errors
/// When the socket breaks or the log can't be flushed.
pub async fn run(
    listener: TcpListener,
    server: Arc<Server>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let app = router(Arc::clone(&server));
    axum::serve(listener, app).with_graceful_shutdown(stop).await?;
    let flushed = server.off_thread(|s| s.engine.audit().flush().map_err(|e| e.to_string())).await;
    flushed.map_err(|p| ServeError::Log(p.detail.clone()))?.map_err(ServeError::Log)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_named() {
        let (_first, address) = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let error = bind(address).await.unwrap_err();
        assert!(matches!(error, ServeError::InUse { port } if port == address.port()));
        assert!(error.to_string().contains("--port"));
    }
}
