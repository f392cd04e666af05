//! The built handler as a process, started as the Functions host does it.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

/// `sysconf(_SC_CLK_TCK)` of every Linux that we know.
const TICKS_A_SECOND: f64 = 100.0;

/// A running handler; it ends with this value.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pub(crate) port: u16,
    /// From before `exec` to the first answer on `GET /`.
    pub(crate) start: Duration,
}

impl Process {
    /// Starts it and waits for its first answer.
    pub(crate) fn start(settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = Command::new(env!("CARGO_BIN_EXE_annals"));
        command
            .env_clear()
            .env("FUNCTIONS_CUSTOMHANDLER_PORT", port.to_string())
            .env("ANNALS_PUBLIC_URL", "https://annals.example")
            // As `annals dev` starts it.
            .env("ANNALS_AUTH", "off")
            .env("ANNALS_DEV", "1")
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let started = Instant::now();
        let child = command.spawn().context("the handler does not start")?;
        let mut process = Self { child, port, start: Duration::ZERO };
        while !answers(port)? {
            if started.elapsed() > Duration::from_secs(10) {
                bail!("the handler does not answer");
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        process.start = started.elapsed();
        Ok(process)
    }

    /// CPU time that it has used, its kernel time included.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The second field is the name in brackets, which may hold spaces.
        let fields: Vec<&str> =
            stat.rsplit_once(')').context("a stat line")?.1.split_ascii_whitespace().collect();
        let ticks =
            |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).context("a number");
        let all = ticks(11)? + ticks(12)?;
        Ok(Duration::from_secs_f64(all as f64 / TICKS_A_SECOND))
    }

    /// A figure of `/proc/{pid}/status`, in MiB.
    pub(crate) fn memory(&self, name: &str) -> anyhow::Result<f64> {
        memory(self.child.id(), name)
    }
}

/// The most memory that a child had until it ended, in MiB.
pub(crate) fn peak(child: &mut Child) -> anyhow::Result<f64> {
    let mut peak: f64 = 0.0;
    while child.try_wait()?.is_none() {
        // It may have ended just now.
        peak = peak.max(memory(child.id(), "VmHWM").unwrap_or_default());
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(peak)
}

/// A figure of `/proc/{pid}/status`, in MiB.
fn memory(process: u32, name: &str) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such figure")?;
    let kib = line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<f64>()?;
    Ok(kib / 1024.0)
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended on its own.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One `GET /`; false while nobody listens.
fn answers(port: u16) -> anyhow::Result<bool> {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return Ok(false) };
    write!(stream, "GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n")?;
    let mut status = [0; 12];
    stream.read_exact(&mut status)?;
    Ok(status.ends_with(b"200"))
}
