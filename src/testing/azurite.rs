//! Azurite, pinned in `tests/azurite`, as a process of one's own.

use std::{
    fs,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError, Weak, mpsc},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    config::{self, AzureStorage, Storage},
    store::digest,
};

const ACCOUNT: &str = "devstoreaccount1";
/// Azurite's published key.
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
/// Another account in it, with a key of its own.
const SECOND: (&str, &str) = ("vaultaccount", "c2Vjb25kLWFjY291bnQtb2YtYS10ZXN0LWF6dXJpdGUtb25seQ==");
/// Longest wait until it listens.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A running Azurite with nothing in it, on free ports, in memory.
///
/// It ends when this value is dropped, and also when this process is killed: it reads our end of its
/// stdin. It slows down with the rows in a table, so keep tables below some 10,000 rows.
#[derive(Debug)]
pub struct Azurite {
    child: Child,
    tables: String,
    queues: String,
    blobs: String,
}

impl Azurite {
    /// Starts one; installs it first where that has not happened. Needs Node and, once, npm.
    ///
    /// # Errors
    /// When it cannot be installed, or does not listen within a minute.
    pub fn start() -> io::Result<Self> {
        let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/azurite");
        install(&home)?;
        let mut child = Command::new("node")
            .arg(home.join("run.js"))
            .args(["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent"])
            .args(["--blobPort", "0", "--queuePort", "0", "--tablePort", "0"])
            .env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{KEY};{}:{}", SECOND.0, SECOND.1))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = child.stdout.take().map(BufReader::new).ok_or(io::ErrorKind::BrokenPipe)?;
        let (say, said) = mpsc::channel();
        // It also takes what Azurite prints later: a full pipe would stop it.
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let _ = say.send(line);
            }
        });
        let (tables, queues, blobs) = Default::default();
        let mut azurite = Self { child, tables, queues, blobs };
        while [&azurite.tables, &azurite.queues, &azurite.blobs].into_iter().any(String::is_empty) {
            let line = said.recv_timeout(START_TIMEOUT).map_err(|_| io::ErrorKind::TimedOut)?;
            if let Some((service, url)) = line.split_once(" service is successfully listening at ") {
                let endpoint = format!("{}/{ACCOUNT}", url.trim());
                match service {
                    "Azurite Table" => azurite.tables = endpoint,
                    "Azurite Queue" => azurite.queues = endpoint,
                    "Azurite Blob" => azurite.blobs = endpoint,
                    _ => {}
                }
            }
        }
        Ok(azurite)
    }

    /// The one that this process shares; it ends with its last user.
    ///
    /// # Errors
    /// As [`Azurite::start`].
    pub fn shared() -> io::Result<Arc<Self>> {
        static SHARED: Mutex<Weak<Azurite>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(azurite) = shared.upgrade() {
            return Ok(azurite);
        }
        let azurite = Arc::new(Self::start()?);
        *shared = Arc::downgrade(&azurite);
        Ok(azurite)
    }

    /// Table endpoint, with the account.
    pub fn tables(&self) -> &str {
        &self.tables
    }

    /// Queue endpoint, with the account.
    pub fn queues(&self) -> &str {
        &self.queues
    }

    /// The address of a blob container, with a signature that lets its holder make it, read and write it.
    pub fn container(&self, name: &str) -> String {
        format!("{}/{name}?{}", self.blobs, signature())
    }

    /// For `AnnalsStorage`.
    pub fn connection_string(&self) -> String {
        connection_string(&self.tables, &self.queues)
    }

    /// For a storage account of a tenant's own.
    pub fn second_connection_string(&self) -> String {
        let [tables, queues] =
            [&self.tables, &self.queues].map(|endpoint| endpoint.replace(ACCOUNT, SECOND.0));
        let (account, key) = SECOND;
        format!("AccountName={account};AccountKey={key};TableEndpoint={tables};QueueEndpoint={queues}")
    }

    /// Its account as settings.
    pub fn storage(&self) -> AzureStorage {
        storage(&self.connection_string())
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        // It may have ended on its own.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A shared access signature of the account, for blobs and for ever.
fn signature() -> String {
    let (services, kinds, rights, version) = ("b", "co", "rwlc", "2021-12-02");
    let (start, expiry) = ("2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z");
    // Fields that are left out stay as empty lines: which address, and which encryption scope.
    let signed =
        format!("{ACCOUNT}\n{rights}\n{services}\n{kinds}\n{start}\n{expiry}\n\nhttps,http\n{version}\n\n");
    let key = STANDARD.decode(KEY).unwrap_or_default();
    let mac = STANDARD.encode(digest::hmac(&key, signed.as_bytes()));
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("sv", version), ("ss", services), ("srt", kinds), ("sp", rights)])
        .extend_pairs([("st", start), ("se", expiry), ("spr", "https,http"), ("sig", &mac)])
        .finish()
}

/// A connection string of Azurite's account at these endpoints.
pub fn connection_string(tables: &str, queues: &str) -> String {
    format!("AccountName={ACCOUNT};AccountKey={KEY};TableEndpoint={tables};QueueEndpoint={queues}")
}

/// The account of a connection string.
///
/// # Panics
/// When it is not one.
pub fn storage(connection: &str) -> AzureStorage {
    match config::storage(&|name| (name == "AnnalsStorage").then(|| connection.to_owned())) {
        Ok(Storage::Azure(storage)) => storage,
        other => panic!("not a connection string: {other:?}"),
    }
}

/// Installs what the lock file pins, unless it is there. Two processes may do so at once: each works
/// in a folder of its own, and the first to finish moves its result into place.
fn install(home: &Path) -> io::Result<()> {
    if installed(home) {
        return Ok(());
    }
    let work: PathBuf = home.join("node_modules.tmp").join(std::process::id().to_string());
    fs::create_dir_all(&work)?;
    for file in ["package.json", "package-lock.json", ".npmrc"] {
        fs::copy(home.join(file), work.join(file))?;
    }
    let output = Command::new("npm").args(["ci", "--ignore-scripts"]).current_dir(&work).output()?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    let place = home.join("node_modules");
    if !installed(home) && place.exists() {
        // Another version: out of the way, and gone with the rest of the work.
        fs::rename(&place, work.join("old"))
            .or_else(|error| if installed(home) { Ok(()) } else { Err(error) })?;
    }
    let moved = fs::rename(work.join("node_modules"), &place);
    let _ = fs::remove_dir_all(&work);
    if installed(home) { Ok(()) } else { moved }
}

/// Whether the pinned version is in place.
fn installed(home: &Path) -> bool {
    let read = |path: &str| -> Option<serde_json::Value> {
        serde_json::from_slice(&fs::read(home.join(path)).ok()?).ok()
    };
    let wanted = read("package.json").map(|package| package["dependencies"]["azurite"].clone());
    let there = read("node_modules/azurite/package.json").map(|package| package["version"].clone());
    wanted.is_some() && wanted == there
}
