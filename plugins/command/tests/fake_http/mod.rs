//! A device with HTTP that a test plays.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use serde_json::Value;

/// Answers one request of each connection, one after another, until it is dropped.
pub(crate) struct FakeHttp {
    address: SocketAddr,
    refuses: Arc<AtomicBool>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

pub(crate) struct Request {
    pub(crate) method: String,
    /// With its query.
    pub(crate) path: String,
    body: Vec<u8>,
}

pub(crate) struct Response {
    status: &'static str,
    body: String,
}

impl FakeHttp {
    pub(crate) fn start(answer: impl Fn(&Request) -> Response + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let [refuses, ends] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
        let (refuse, end) = (Arc::clone(&refuses), Arc::clone(&ends));
        let thread = std::thread::spawn(move || {
            for connection in listener.incoming() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                let mut connection = connection.unwrap();
                let request = Request::read(&connection);
                let response = match refuse.load(Ordering::SeqCst) {
                    true => Response { status: "500 Internal Server Error", body: String::new() },
                    false => answer(&request),
                };
                // Whoever asked may be gone.
                let _ = connection.write_all(response.text().as_bytes());
            }
        });
        Self { address, refuses, ends, thread: Some(thread) }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Answers 500 from now on.
    pub(crate) fn refuse(&self) {
        self.refuses.store(true, Ordering::SeqCst);
    }
}

impl Drop for FakeHttp {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        // The thread wakes by it.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            // A thread that has panicked has said why.
            let _ = thread.join();
        }
    }
}

impl Request {
    fn read(connection: &TcpStream) -> Self {
        let mut reader = BufReader::new(connection);
        let mut line = || {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            line.trim_end().to_owned()
        };
        let first = line();
        let headers: Vec<_> =
            std::iter::repeat_with(&mut line).take_while(|l| !l.is_empty()).collect();
        let length = headers.iter().find_map(|header| {
            let (name, value) = header.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length").then(|| value.parse().unwrap())
        });
        let mut body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut body).unwrap();
        let mut words = first.split(' ').map(str::to_owned);
        Self { method: words.next().unwrap(), path: words.next().unwrap_or_default(), body }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Response {
    pub(crate) fn ok(body: String) -> Self {
        Self { status: "200 OK", body }
    }

    pub(crate) fn json(json: &Value) -> Self {
        Self::ok(json.to_string())
    }

    pub(crate) fn not_found() -> Self {
        Self { status: "404 Not Found", body: String::new() }
    }

    fn text(&self) -> String {
        let (status, body) = (self.status, &self.body);
        let length = body.len();
        format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
    }
}
