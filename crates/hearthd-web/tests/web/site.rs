//! A running `hearth-web`, a fake broker, and clients that speak HTTP and WebSocket by hand or by library.

use std::{path::Path, process::Stdio, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    time::timeout,
};
use tokio_websockets::{ClientBuilder, CloseCode, Message, WebSocketStream};

/// How long a test waits before it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The program under test; it ends with this.
#[derive(Debug)]
pub(crate) struct Site {
    child: Child,
    pub(crate) port: u16,
    pub(crate) folder: TempDir,
}

impl Site {
    /// Starts it with a broker at a URL, and more lines for its configuration.
    pub(crate) async fn start(broker: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::start_in(folder, broker, more).await
    }

    pub(crate) async fn start_in(folder: TempDir, broker: &str, more: &str) -> Self {
        let file = folder.path().join("hearth-web.toml");
        std::fs::write(&file, format!("[broker]\nurl = {broker:?}\n{more}\n")).unwrap();
        let mut child = program(&file).args(["--listen", "127.0.0.1:0"]).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
        let port = line.rsplit_once(':').unwrap().1.parse().unwrap();
        Self { child, port, folder }
    }

    /// Waits for a line of the log that contains a text.
    pub(crate) async fn until_logged(&mut self, text: &str) {
        let log = self.child.stderr.as_mut().unwrap();
        let mut lines = BufReader::new(log).lines();
        let found = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.contains(text) {
                    return true;
                }
            }
            false
        };
        assert!(timeout(PATIENCE, found).await.unwrap(), "no line with {text}");
    }

    /// Sends SIGHUP.
    pub(crate) async fn hang_up(&self) {
        let id = self.child.id().unwrap().to_string();
        let sent = Command::new("sh").args(["-c", "kill -HUP \"$1\"", "sh", &id]).status().await;
        assert!(sent.unwrap().success());
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).await.unwrap()
    }

    /// Sends the head of a request, and returns the whole answer.
    pub(crate) async fn ask(&self, head: &str) -> Answer {
        let mut stream = self.connect().await;
        let head = format!("{}\r\nConnection: close\r\n\r\n", head.replace('\n', "\r\n"));
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
        let end = bytes.windows(4).position(|it| it == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        Answer { head, body: bytes[end + 4..].to_vec() }
    }

    /// Returns the status of the answer to the handshake of a WebSocket, with these headers.
    pub(crate) async fn shake(&self, headers: &str) -> u16 {
        let mut stream = self.connect().await;
        let head = format!("GET /mqtt HTTP/1.1\n{headers}\n\n").replace('\n', "\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        timeout(PATIENCE, stream.read_exact(&mut answer)).await.unwrap().unwrap();
        String::from_utf8_lossy(&answer[9..]).parse().unwrap()
    }

    /// Opens a WebSocket as the page does.
    pub(crate) async fn page(&self) -> Page {
        self.page_over(self.connect().await, "http").await
    }

    pub(crate) async fn page_over<S>(&self, stream: S, scheme: &str) -> Page<S>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let host = format!("127.0.0.1:{}", self.port);
        let builder = ClientBuilder::new()
            .uri(&format!("ws://{host}/mqtt"))
            .unwrap()
            .add_header("Origin".parse().unwrap(), format!("{scheme}://{host}").parse().unwrap())
            .unwrap()
            .add_header("Sec-WebSocket-Protocol".parse().unwrap(), "mqtt".parse().unwrap())
            .unwrap();
        let (socket, answer) = builder.connect_on(stream).await.unwrap();
        assert_eq!(answer.headers()["sec-websocket-protocol"], "mqtt");
        Page(socket)
    }
}

/// What the program prints and exits with.
pub(crate) async fn run(file: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = program(file).args(arguments).output().await.unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn program(file: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hearth-web"));
    command.arg("--config").arg(file).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// An answer of HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.head[9..12].parse().unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// The page's end of a WebSocket.
#[derive(Debug)]
pub(crate) struct Page<S = TcpStream>(WebSocketStream<S>);

impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> Page<S> {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.0.send(Message::binary(bytes.to_vec())).await.unwrap();
    }

    /// Sends what the other end may have stopped to read.
    pub(crate) async fn try_send(&mut self, message: Message) -> bool {
        self.0.send(message).await.is_ok()
    }

    /// Reads so many bytes, in however many frames they come.
    pub(crate) async fn read(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let message = timeout(PATIENCE, self.0.next()).await.unwrap().unwrap().unwrap();
            assert!(message.is_binary(), "{message:?}");
            bytes.extend_from_slice(message.as_payload());
        }
        bytes
    }

    /// Waits for the end; returns its code and reason, and what came before.
    pub(crate) async fn end(&mut self) -> (u16, String, Vec<u8>) {
        let mut bytes = Vec::new();
        loop {
            match timeout(PATIENCE, self.0.next()).await.unwrap() {
                Some(Ok(message)) if message.is_close() => {
                    let (code, reason) =
                        message.as_close().unwrap_or((CloseCode::NO_STATUS_RECEIVED, ""));
                    return (code.into(), reason.to_owned(), bytes);
                }
                Some(Ok(message)) => bytes.extend_from_slice(message.as_payload()),
                Some(Err(error)) => panic!("{error}, after {bytes:?}"),
                None => return (1006, String::new(), bytes),
            }
        }
    }

    pub(crate) async fn log_in(&mut self, broker: &FakeBroker) -> TcpStream {
        self.send(&connect("anna")).await;
        let mut link = broker.accept().await;
        let mut packet = vec![0; connect("anna").len()];
        link.read_exact(&mut packet).await.unwrap();
        assert_eq!(packet, connect("anna"));
        link.write_all(&CONNACK).await.unwrap();
        assert_eq!(self.read(CONNACK.len()).await, CONNACK);
        link
    }
}

/// A broker of which the test plays the part.
#[derive(Debug)]
pub(crate) struct FakeBroker(TcpListener);

impl FakeBroker {
    pub(crate) async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub(crate) fn url(&self) -> String {
        format!("mqtt://{}", self.0.local_addr().unwrap())
    }

    pub(crate) async fn accept(&self) -> TcpStream {
        timeout(PATIENCE, self.0.accept()).await.unwrap().unwrap().0
    }
}

/// Writes a CONNECT of MQTT 5.
pub(crate) fn connect(account: &str) -> Vec<u8> {
    let mut body = b"\0\x04MQTT\x05\xC2\0\x1E\x02\x19\x01\0\x05web-1".to_vec();
    for field in [account, "secret"] {
        body.extend((field.len() as u16).to_be_bytes());
        body.extend(field.bytes());
    }
    let mut packet = vec![0x10, body.len() as u8];
    packet.extend(body);
    packet
}

pub(crate) const CONNACK: [u8; 5] = [0x20, 3, 0, 0, 0];
pub(crate) const WRONG_PASSWORD: [u8; 5] = [0x20, 3, 0, 0x86, 0];
