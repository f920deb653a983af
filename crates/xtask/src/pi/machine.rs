//! An emulated Raspberry Pi 3B that runs: its process, its shell, and what is seen from outside.

use std::{path::Path, time::Duration};

use hearthd_tests::{Doing, Failure, Process, Result, process::eventually};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::{Instant, sleep, timeout},
};

use super::{
    outside::{Outside, Pin, ROOM},
    parts::Parts,
};

/// A running machine; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) outside: Outside,
    read: BufReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
    /// After the connections to it, so that it is ended last.
    process: Process,
    _sockets: TempDir,
}

/// What is started with: files of the boot loader's.
#[derive(Debug)]
pub(crate) struct Boot<'a> {
    pub(crate) initrd: &'a Path,
    pub(crate) device_tree: &'a Path,
    /// The SD card, where one is in.
    pub(crate) card: Option<&'a Path>,
    /// How long until the shell must answer.
    pub(crate) deadline: Duration,
}

/// What a command in the machine said.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) status: i32,
    pub(crate) text: String,
}

impl Machine {
    /// Switches the machine on and waits until its shell answers; its logs go to `folder`, by its name.
    pub(crate) async fn start(
        parts: &Parts,
        boot: &Boot<'_>,
        folder: &Path,
        name: &str,
    ) -> Result<Self> {
        // The path of a socket may have a hundred characters: not below the workspace.
        let sockets = TempDir::new()?;
        let socket = |name: &str| sockets.path().join(name);
        let listen = |name: &str| format!("unix:{},server=on,wait=off", socket(name).display());
        let release = parts.kernel_release()?;
        let console = folder.join(format!("{name}.console"));
        let mut qemu = parts.tool("bin/qemu-system-aarch64")?;
        qemu.args(["-M", "raspi3b", "-accel", "tcg,thread=multi", "-no-reboot"]);
        qemu.args(["-display", "none", "-monitor", "none", "-nic", "none"]);
        qemu.arg("-kernel").arg(parts.file("boot").join(format!("vmlinuz-{release}")));
        qemu.arg("-initrd").arg(boot.initrd).arg("-dtb").arg(boot.device_tree);
        qemu.args(["-append", KERNEL]);
        qemu.args(["-serial", &listen("shell")]);
        qemu.arg("-serial").arg(format!("file:{}", console.display()));
        qemu.args(["-qmp", &listen("monitor")]);
        qemu.args(["-device", &format!("tmp105,id={ROOM},bus=i2c-bus.1,address=0x48")]);
        if let Some(card) = boot.card {
            let card = card.display();
            qemu.arg("-drive").arg(format!("if=sd,format=raw,cache=unsafe,file={card}"));
        }
        let mut process = Process::start(&mut qemu, &folder.join(format!("{name}.log")))?;
        eventually("the emulator's monitor", MONITOR, || match process.ended()? {
            Some(status) => Err(Failure(format!("qemu: {status}\n{}", process.log()))),
            None => Ok((socket("monitor").exists() && socket("shell").exists()).then_some(())),
        })
        .await?;
        let outside = Outside::connect(&socket("monitor")).await?;
        let shell = UnixStream::connect(socket("shell")).await.doing("the shell")?;
        let (read, write) = shell.into_split();
        let read = BufReader::new(read);
        let mut machine = Self { outside, read, write, process, _sockets: sockets };
        let ready = timeout(boot.deadline, machine.until_marker()).await;
        ready
            .unwrap_or_else(|_| Err(Failure(format!("no shell within {:?}", boot.deadline))))
            .doing(format!("the end of {}:\n{}", console.display(), end_of(&console)))?;
        Ok(machine)
    }

    /// Runs a line in the machine's shell.
    pub(crate) async fn run(&mut self, line: &str) -> Result<Said> {
        let typed = format!("{line}\n");
        if typed.len() > LONGEST_LINE {
            return Err(Failure(format!("a terminal takes no line so long: {line}")));
        }
        self.write.write_all(typed.as_bytes()).await.doing(line)?;
        match timeout(COMMAND, self.until_marker()).await {
            Ok(said) => said.doing(line),
            Err(_) => Err(Failure(format!("not done after {COMMAND:?}: {line}"))),
        }
    }

    /// Runs a line that must succeed, and returns what it says.
    pub(crate) async fn done(&mut self, line: &str) -> Result<String> {
        match self.run(line).await? {
            Said { status: 0, text } => Ok(text),
            Said { status, text } => Err(Failure(format!("{line}\nexit code {status}: {text}"))),
        }
    }

    /// Runs a line again and again until what it says is accepted.
    pub(crate) async fn until(
        &mut self,
        line: &str,
        within: Duration,
        accept: impl Fn(&Said) -> bool,
    ) -> Result<Said> {
        let end = Instant::now() + within;
        loop {
            let said = self.run(line).await?;
            if accept(&said) {
                return Ok(said);
            }
            if Instant::now() > end {
                let Said { status, text } = said;
                return Err(Failure(format!("{line}\nafter {within:?} still {status}: {text}")));
            }
            sleep(BETWEEN_LOOKS).await;
        }
    }

    /// Watches a pin from outside until it is as it should be.
    pub(crate) async fn watch(&mut self, line: u32, wanted: Pin, within: Duration) -> Result<()> {
        let start = Instant::now();
        loop {
            let pin = self.outside.pin(line).await?;
            if pin == wanted {
                return Ok(());
            }
            if start.elapsed() > within {
                let what = format!("GPIO{line} is {pin:?} after {within:?}, not {wanted:?}");
                return Err(Failure(what));
            }
            sleep(BETWEEN_LOOKS).await;
        }
    }

    /// Reads up to a line that says how a command ended.
    async fn until_marker(&mut self) -> Result<Said> {
        let mut text = String::new();
        loop {
            let mut line = Vec::new();
            if self.read.read_until(b'\n', &mut line).await? == 0 {
                return Err(Failure(format!("the machine has ended\n{}", self.process.log())));
            }
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\r', '\n']);
            if let Some((before, status)) = line.split_once(MARKER)
                && let Ok(status) = status.trim().parse()
            {
                text.push_str(before);
                return Ok(Said { status, text });
            }
            text.push_str(line);
            text.push('\n');
        }
    }
}

fn end_of(file: &Path) -> String {
    let text = std::fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}

/// What the shell writes after each command, before its exit code.
pub(crate) const MARKER: &str = "@@ exit ";

/// The kernel's command line; the drivers that it names find nothing in the emulator, and take half a minute for it.
const KERNEL: &str = "console=ttyS1,115200 quiet panic=-1 systemd.show_status=0 systemd.wants=shell.service \
                      systemd.mask=serial-getty@ttyS1.service systemd.mask=getty@tty1.service \
                      module_blacklist=vc4,bcm2835_v4l2,snd_bcm2835,bcm2835_mmal_vchiq,brcmfmac";

const MONITOR: Duration = Duration::from_secs(20);
/// The longest is the installation: seconds on a Pi, a minute on a busy machine that emulates one.
const COMMAND: Duration = Duration::from_secs(180);
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);
/// A terminal takes 4,096 bytes a line.
const LONGEST_LINE: usize = 4000;
const LAST_LINES: usize = 30;
